import type { Condition } from './condition.js';
import type { Action, Step } from './scenario.js';

/** What steps noted: `$name` stands for it from then on. Another `$` is left alone: shells have theirs. */
export type Names = ReadonlyMap<string, string>;

export function filled(text: string, names: Names): string {
  return text.replace(
    /\$([A-Za-z][A-Za-z0-9]*)/g,
    (whole, name: string) => names.get(name) ?? whole,
  );
}

/** The step with every noted name filled in. */
export function withNames(step: Step, names: Names): Step {
  const fill = (text: string) => filled(text, names);
  switch (step.kind) {
    case 'exec':
      return { ...step, node: fill(step.node), argv: step.argv.map(fill) };
    case 'wait':
    case 'stays':
      return { ...step, conditions: step.conditions.map((one) => conditionWith(one, names)) };
    case 'note':
      return { ...step, path: fill(step.path) };
    case 'ping':
      return { ...step, node: fill(step.node), address: fill(step.address) };
    case 'answers':
      return { ...step, address: fill(step.address) };
    case 'together':
      return { ...step, actions: step.actions.map((one) => actionWith(one, names)) };
    default:
      return actionWith(step, names);
  }
}

function actionWith(action: Action, names: Names): Action {
  const fill = (text: string) => filled(text, names);
  switch (action.kind) {
    case 'compact':
    case 'load':
      return action;
    case 'partition':
    case 'signal':
      return { ...action, node: fill(action.node) };
    case 'restart':
      return { ...action, node: fill(action.node), argv: action.argv?.map(fill) };
    default:
      return { ...action, nodes: action.nodes.map(fill) };
  }
}

function conditionWith({ path, expected }: Condition, names: Names): Condition {
  const filledPath = filled(path, names);
  const { kind, value } = expected;
  if ((kind !== 'is' && kind !== 'not') || typeof value !== 'string') {
    return { path: filledPath, expected };
  }
  return { path: filledPath, expected: { kind, value: filled(value, names) } };
}
