// Buyers at the door, for k6: an open loop, each buyer with a token and a key of its own.
//
//   manage.py create_buyer_token 1-20000 > tokens.txt
//   k6 run -e DOOR=http://127.0.0.1:3001 -e TOKENS=tokens.txt -e RATE=500 -e SECONDS=30 loadgen/k6/click.js
//
// Every click is sent until its answer is known: with the same key after 429, 503, `void` and a broken
// line, as a page does. `run_loadgen --http` does the same without k6, counts from the intended time, and
// writes what each click was told.

import { check, sleep } from "k6";
import { SharedArray } from "k6/data";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";

const DOOR = (__ENV.DOOR || "http://127.0.0.1:3001").replace(/\/$/, "");
const RATE = Number(__ENV.RATE || 500);
const SECONDS = Number(__ENV.SECONDS || 30);
const ACTIVITY = Number(__ENV.ACTIVITY || 1);
const ITEM = __ENV.ITEM || "1001";
// A share of the clicks is sent twice at the same time: one order all the same.
const TWINS = Number(__ENV.TWINS || 0.1);
// Seconds until a buyer gives up, and between two tries where the door does not say.
const GIVE_UP = 120;
const PAUSE = 0.2;

const tokens = new SharedArray("tokens", () =>
  open(__ENV.TOKENS || "tokens.txt")
    .split("\n")
    .filter((line) => line !== ""),
);

const answerTime = new Trend("click_to_answer", true);
// A hold is a yes too, whatever became of it: nobody pays here.
const YES = ["accepted", "held", "paid", "expired", "cancelled"];
const accepted = new Counter("answers_accepted");
const refused = new Counter("answers_refused");
const shed = new Counter("answers_at_door");
const unanswered = new Counter("clicks_without_answer");
const turnedAway = new Counter("clicks_turned_away");
const askedAgain = new Counter("asked_again");

export const options = {
  scenarios: {
    clicks: {
      executor: "constant-arrival-rate",
      rate: RATE,
      timeUnit: "1s",
      duration: `${SECONDS}s`,
      preAllocatedVUs: Math.max(50, RATE),
      maxVUs: Math.max(2000, RATE * 10),
      // k6 ends what is on its way after 30 s and counts it nowhere: a buyer has longer.
      gracefulStop: `${GIVE_UP + 45}s`,
    },
  },
  thresholds: {
    clicks_without_answer: ["count==0"],
    // A click that k6 had no buyer for was never sent: more maxVUs, or a lower RATE.
    dropped_iterations: ["count==0"],
    checks: ["rate==1"],
  },
};

export default function () {
  const number = exec.scenario.iterationInTest;
  const token = tokens[number % tokens.length];
  const key = `k6-${exec.scenario.startTime}-${number}`;
  const body = JSON.stringify({ activity_id: ACTIVITY, items: { [ITEM]: 1 } });
  const headers = {
    Authorization: `Bearer ${token}`,
    "Idempotency-Key": key,
    "Content-Type": "application/json",
    Prefer: "wait=25",
  };
  const click = ["POST", `${DOOR}/v1/requests`, body, { headers, timeout: "40s" }];
  const began = Date.now();
  let twins = Math.random() < TWINS;
  let ticket = "";
  while (Date.now() - began < GIVE_UP * 1000) {
    const asked = ticket
      ? ["GET", `${DOOR}/v1/tickets/${ticket}`, null, { headers: { Prefer: "wait=25" }, timeout: "40s" }]
      : click;
    const [answer, other] = http.batch(twins ? [asked, asked] : [asked]);
    const content = contentOf(answer);
    if (YES.includes(content.state) || content.state === "refused") {
      (YES.includes(content.state) ? accepted : refused).add(1);
      if (content.at_door) shed.add(1);
      answerTime.add(Date.now() - began);
      const twin = other ? contentOf(other).state : "";
      if (YES.includes(twin) || twin === "refused") {
        check(twin, {
          "twins have the same answer": (state) => YES.includes(state) === YES.includes(content.state),
        });
      }
      return;
    }
    twins = false;
    if (content.state === "waiting") {
      ticket = content.ticket;
    } else if (content.state === "void") {
      ticket = "";
    } else if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
      turnedAway.add(1, { status: String(answer.status) });
      return;
    }
    askedAgain.add(1, { status: String(answer.status) });
    sleep(Math.min(Number((answer.headers || {})["Retry-After"]) || PAUSE, 5));
  }
  unanswered.add(1);
}

// A proxy's own page, or no answer at all, has no content.
function contentOf(answer) {
  try {
    return answer.json() || {};
  } catch {
    return {};
  }
}
