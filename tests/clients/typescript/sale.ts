// Makes a sale, steers it and reads it, through the types that were generated from /openapi.json.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./built/schema.d.ts";

const { SECKILL_URL: baseUrl, SECKILL_KEY: key } = process.env;
assert(baseUrl && key);
const client = createClient<paths>({ baseUrl, headers: { "X-API-Key": key } });

const made = await client.POST("/v1/activities", {
  params: { header: { "Idempotency-Key": "night-1" } },
  body: { name: "Night", user_limit: 2, stock: { "1001": 1 } },
});
assert(made.data, JSON.stringify(made.error));
assert.deepEqual(made.data.new, { name: "Night", user_limit: 2, "1001": 1 });
const path = { activity_id: made.data.activity_id };

const act = await client.POST("/v1/activities/{activity_id}/set_stock", {
  params: { path },
  body: { value: { "1001": 2 } },
});
assert.deepEqual(act.data?.new, { "1001": 2 });

const stale = await client.POST("/v1/activities/{activity_id}/add_stock", {
  params: { path },
  body: { value: { "1001": 1 }, expected_version: 0 },
});
assert.equal(stale.response.status, 409);
assert.equal(stale.error?.version, act.data.version);

await client.POST("/v1/activities/{activity_id}/pause", { params: { path }, body: { note: "a client" } });
const shown = await client.GET("/v1/activities/{activity_id}", { params: { path } });
assert.equal(shown.data?.live?.paused, true);
await client.POST("/v1/activities/{activity_id}/resume", { params: { path } });

// Activity 7 has one order.
const orders = await client.GET("/v1/orders", {
  params: { query: { activity_id: 7, limit: 1, since: "2020-01-01T00:00:00Z" } },
});
const order = orders.data?.orders[0];
assert.equal(order?.request_id, "mine");
assert.equal(orders.data?.next, null);

const results = await client.POST("/v1/results", {
  body: { messages: [0, 1, 2].map((offset) => ({ partition: 0, offset })), request_ids: ["mine"] },
});
assert.deepEqual(
  results.data?.messages.map((message) => message.state),
  ["accepted", "refused", "waiting"],
);
assert.equal(results.data.request_ids[0]?.orders[0]?.order_id, order.order_id);

const journal = await client.GET("/v1/journal", { params: { query: path } });
assert.deepEqual(
  journal.data?.journal.map((row) => row.act),
  ["resume", "pause", "add_stock", "set_stock", "create_activity"],
);
console.log("done");
