export * from '../control/keys.js';
