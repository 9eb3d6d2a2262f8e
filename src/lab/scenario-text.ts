import type { Condition } from './condition.js';
import type { Step } from './scenario.js';

/** A step in words, for the result. */
export function describe(step: Step): string {
  switch (step.kind) {
    case 'exec':
      return `exec ${step.node}: ${step.argv.join(' ')}`;
    case 'wait':
      return `wait for ${step.conditions.map(conditionText).join(', ')}`;
    case 'stays':
      return `${step.duringMs} ms long ${step.conditions.map(conditionText).join(', ')}`;
    case 'note':
      return `note ${step.name}: ${step.path}`;
    case 'ping':
      return `ping ${step.address} from ${step.node}`;
    case 'answers':
      return `${step.address} answers${expectation(step)}`;
    case 'partition': {
      const way = step.direction === 'both' ? '' : `, ${step.direction} only`;
      return `partition ${step.node} (${step.cut}${way})`;
    }
    case 'signal':
      return `signal ${step.signal} to ${step.process} on ${step.node}`;
    case 'restart': {
      const other = step.argv === undefined ? '' : ` as ${step.argv.join(' ')}`;
      return `restart ${step.process} on ${step.node}${other}`;
    }
    case 'compact':
      return 'compact etcd';
    case 'load':
      return step.processes === 0 ? 'end the load' : `load of ${step.processes} processes`;
    case 'together':
      return step.actions.map(describe).join(' and ');
    default:
      return `${step.kind} ${step.nodes.join(', ')}`;
  }
}

function expectation(step: Extract<Step, { kind: 'answers' }>): string {
  const { mostLost, longestGapMs } = step;
  const lost = mostLost === undefined ? '' : `, at most ${mostLost} lost`;
  return `${lost}${longestGapMs === undefined ? '' : `, no gap over ${longestGapMs} ms`}`;
}

const signs = { is: '=', not: '≠', 'at-least': '≥', matches: '~' } as const;

function conditionText({ path, expected: { kind, value } }: Condition): string {
  return `${path} ${signs[kind]} ${value}`;
}
