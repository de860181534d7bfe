// What a buyer reads. [headline, detail] where there are two.
const en = {
  soon: "Opens soon", open: "On sale", paused: "Paused", sold_out: "Sold out", over: "Ended",
  opensIn: "Opens in ", closesIn: "Closes in ", many: "Available", few: "Only a few left", gone: "Sold out",
  buy: "Buy", item: "Item", sale: "Sale", again: "Ask again", another: "Buy something else",
  away: "The sale cannot be shown now. We keep trying.", missing: "This sale does not exist or is not on sale.",
  pausedNote: "The sale is paused. Please stay on this page.",
  sending: ["We are asking", "Your order is on its way. Do not pay again."],
  waiting: ["You are in line", "{n} ahead of you. Do not click again."],
  next: ["You are in line", "You are next. Do not click again."],
  delayed: ["Not decided yet", "Nothing is lost. Do not click again; this page tells you as soon as it is decided."],
  yours: ["It is yours", "Your order is accepted."],
  unknown: ["We do not know yet", "Your last order may not have arrived. Ask again: it can never buy twice."],
  signin: ["Please sign in again", "Go back to the shop and sign in. An order that you have sent goes on."],
  void: ["Your order was lost", "It was not counted, and you have nothing to pay. Please click again."],
  SOLD_OUT: ["Sold out", "This item was gone before your turn. If units come back, you can buy here again."],
  LIMIT: ["You have reached the limit", "Each buyer can have a limited number only."],
  NOT_OPEN: ["Not open yet", "The sale had not opened when your order came. Please try again when it opens."],
  EXPIRED: ["Too late", "Your order waited too long and was not placed. You can try again."],
  refused: ["Not this time", "Your order was not accepted. You have nothing to pay."],
};
const zh = {
  soon: "即将开始", open: "抢购中", paused: "已暂停", sold_out: "已售罄", over: "已结束",
  opensIn: "距开始 ", closesIn: "距结束 ", many: "有货", few: "即将售罄", gone: "已售罄",
  buy: "立即抢购", item: "商品", sale: "抢购", again: "再次查询", another: "继续选购",
  away: "暂时无法显示活动，正在重试。", missing: "活动不存在或尚未上架。",
  pausedNote: "活动已暂停，请停留在本页。",
  sending: ["正在提交", "订单提交中，请勿重复付款。"],
  waiting: ["排队中", "前面还有 {n} 个请求，请勿重复点击。"],
  next: ["排队中", "马上轮到您，请勿重复点击。"],
  delayed: ["尚未有结果", "您的请求不会丢失。请勿重复点击，结果出来后会立即显示。"],
  yours: ["抢购成功", "您的订单已确认。"],
  unknown: ["结果未知", "上次的请求可能没有送达。可以再次查询，不会重复下单。"],
  signin: ["请重新登录", "请返回商城登录。已提交的请求不受影响。"],
  void: ["请求已丢失", "该请求未生效，您无需付款。请重新点击。"],
  SOLD_OUT: ["已售罄", "轮到您之前商品已售完。如有库存释放，可在此继续抢购。"],
  LIMIT: ["已达限购数量", "每位买家限购，您已达到上限。"],
  NOT_OPEN: ["尚未开始", "您提交时活动还未开始，请在开始后再试。"],
  EXPIRED: ["请求已超时", "您的请求等待过久，未能下单，可以再试一次。"],
  refused: ["未抢到", "您的请求未被接受，无需付款。"],
};
en.OVER = en.SOLD_OUT;
zh.OVER = zh.SOLD_OUT;
export const chinese = navigator.language.toLowerCase().startsWith("zh");
export const texts = chinese ? zh : en;
