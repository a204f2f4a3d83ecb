// A shop in one file, with Express.
//
// It sells coffee. What makes it a shop for qlink is three things: the answer of
// /checkout, /notifications, and that an order is fulfilled in one place only.
//
//	npm ci --prefix examples/shops/node && npm start --prefix examples/shops/node

import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import express from "express";
import { Webhook } from "standardwebhooks";

const port = Number(process.env.SHOP_PORT ?? 8097);
const qlink = `http://127.0.0.1:${process.env.SHOP_SITE_PORT ?? 8095}/qlink`;
const webhook = new Webhook(process.env.SHOP_NOTIFY_SECRET ?? "whsec_c2hvcC1ub3RpZmljYXRpb25zLW9mLXRoZS1leGFtcGxlIQ==");
const file = process.env.SHOP_DATABASE ?? "/tmp/qlink-node-shop.json";
const price = 15000;
const currency = "IDR";

// The shop's books, by order code. Yours are in a database.
const orders = new Map(existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []);

function keep(code, order) {
  orders.set(code, order);
  writeFileSync(`${file}.new`, JSON.stringify([...orders]), { flush: true });
  renameSync(`${file}.new`, file);
}

// The order code of the buyer's cart: the cart's, not the click's, so that two
// clicks are one order.
function cartOf(req) {
  const code = /(?:^|; )cart=([A-Z0-9-]+)/.exec(req.get("Cookie") ?? "")?.[1];
  return orders.has(code) && !orders.get(code).paid ? code : undefined;
}

const page = (content) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Coffee</title><h1>Coffee</h1>\n${content}\n</html>\n`;

const shop = express();

shop.get("/", (req, res) => {
  let code = cartOf(req);
  if (!code) {
    code = `NODE-${randomBytes(8).toString("hex").toUpperCase()}`;
    keep(code, { quantity: 1, paid: false });
    res.cookie("cart", code, { httpOnly: true, sameSite: "lax" });
  }
  const { quantity } = orders.get(code);
  res.send(page(`<form method="post" action="/cart">Coffee, ${price} ${currency} each:
<input name="quantity" value="${quantity}" size="2"> <button>Change</button></form>
<form method="post" action="/checkout"><button>Pay ${quantity * price} ${currency}</button></form>`));
});

shop.post("/cart", express.urlencoded({ extended: false }), (req, res) => {
  const quantity = Number(req.body?.quantity);
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 99) {
    return res.status(422).type("text").send("From 1 to 99.\n");
  }
  const code = cartOf(req);
  if (code) keep(code, { quantity, paid: false });
  res.redirect(303, "/");
});

// The answer that qlink makes a payment of. The amount is the shop's, from its own
// books.
shop.post("/checkout", (req, res) => {
  const code = cartOf(req);
  if (!code) return res.redirect(303, "/");
  const { quantity } = orders.get(code);
  res.status(201).type("application/vnd.qlink.order+json").send(JSON.stringify({
    orderCode: code, amount: String(quantity * price), currency, description: "Coffee",
    items: [{ skuCode: "COFFEE", skuName: "Coffee", quantity }],
  }));
});

// How an order ended. 2xx says that this need not be told again; it may come twice
// all the same. The signature is over the bytes as they came.
shop.post("/notifications", express.raw({ type: () => true, limit: "1mb" }), async (req, res) => {
  let told;
  try {
    told = webhook.verify(req.body.toString(), req.headers);
  } catch {
    return res.sendStatus(401);
  }
  if (!told.type.startsWith("bill.") || !told.data.order.paid) {
    return res.sendStatus(204); // unpaid is what an order is until it is paid
  }
  let bill = told.data;
  if (bill.id !== bill.order.paidBill) { // this is about another attempt than the one that paid
    const answer = await fetch(`${qlink}/bills/${bill.order.paidBill}`);
    if (!answer.ok) throw new Error(`asking after the paid bill: ${answer.status}`);
    bill = await answer.json();
  }
  const order = orders.get(bill.orderCode);
  if (order && bill.status === "SUCCESS" && bill.currency === currency && Number(bill.amount) === order.quantity * price) {
    keep(bill.orderCode, { ...order, paid: true }); // fulfil here, once
  } else {
    console.log("to be looked at: order %j was paid with %j %j", bill.orderCode, bill.amount, bill.currency);
  }
  res.sendStatus(204);
});

shop.get("/orders/:code", (req, res) => {
  const order = orders.get(req.params.code);
  if (!order) return res.status(404).type("text").send("There is no such order.\n");
  res.send(page(`<p>Order ${req.params.code}: ${order.paid ? "paid, thank you" : "waiting for the payment"}</p>`));
});

// What went wrong is not the buyer's to read; qlink will tell it again.
shop.use((err, req, res, next) => {
  console.error(`${req.method} ${req.path}:`, err.message);
  res.status(err.status ?? 500).type("text").send("Try again.\n");
});

shop.listen(port, "127.0.0.1", () => console.log(`the shop listens on 127.0.0.1:${port}`));
