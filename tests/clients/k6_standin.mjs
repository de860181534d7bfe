// The part of k6 that loadgen/k6/click.js calls, for Node: one buyer after the other, no load.
//
// Written after k6's documentation, so it proves the script's way with the door, not with k6: names of
// headers are canonical, a call without an answer has status 0, and `json()` of what is no JSON throws.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

globalThis.__ENV = process.env;
globalThis.open = (name) => readFileSync(name, "utf8");

const counters = {};
const checks = { passes: 0, fails: 0 };
let iteration = 0;

// k6 waits for its calls, Node does not: another process makes those of one batch at the same time.
const FETCH = `
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));
const one = async ([method, url, body, how]) => {
  try {
    const answer = await fetch(url, { method, body, headers: how.headers, signal: AbortSignal.timeout(40000) });
    return { status: answer.status, headers: [...answer.headers], body: await answer.text() };
  } catch (lost) {
    return { status: 0, headers: [], body: null };
  }
};
Promise.all(calls.map(one)).then((answers) => process.stdout.write(JSON.stringify(answers)));
`;

const canonical = (name) => name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());

export const http = {
  batch(calls) {
    const said = execFileSync(process.execPath, ["-e", FETCH], { input: JSON.stringify(calls) });
    return JSON.parse(said).map(({ status, headers, body }) => ({
      status,
      headers: Object.fromEntries(headers.map(([name, value]) => [canonical(name), value])),
      json: () => JSON.parse(body),
    }));
  },
};
export const exec = {
  scenario: {
    startTime: Date.now(),
    get iterationInTest() {
      return iteration;
    },
  },
};
export function check(value, conditions) {
  for (const holds of Object.values(conditions)) checks[holds(value) ? "passes" : "fails"] += 1;
}
export function sleep(seconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}
export const SharedArray = function (name, make) {
  return make();
};
export class Counter {
  constructor(name) {
    this.name = name;
    counters[name] = 0;
  }
  add(number) {
    counters[this.name] += number;
  }
}
export class Trend {
  add(number) {
    if (!(number >= 0)) throw new Error(`no time: ${number}`);
  }
}

// So many iterations, and what they counted.
export function run(click, times) {
  for (iteration = 0; iteration < times; iteration += 1) click();
  return { counters, checks };
}
