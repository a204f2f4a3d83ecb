// The function behind a page of static files: it makes orders, from its own price
// list, and signs them; the browser hands them on. And it hears how they ended.
//
//	node examples/spa/sign.js

const { createHmac, randomBytes, timingSafeEqual } = require("node:crypto");
const { createServer } = require("node:http");

const port = Number(process.env.SPA_SIGN_PORT ?? 8103);
const apiSecret = process.env.SPA_API_SECRET ?? "spa-api-secret-of-the-example";
const qlink = `http://127.0.0.1:${process.env.SPA_PORT ?? 8101}/qlink`;
const notifySecret = process.env.SPA_NOTIFY_SECRET ?? "whsec_c3BhLW5vdGlmaWNhdGlvbnMtb2YtdGhlLWV4YW1wbGUhIQ==";
const price = 15000;
const currency = "IDR";

// The shop's books, by order code. Yours are in a database.
const orders = new Map();

// An order for the buyer's cart, signed as it has to be sent: the body, byte for
// byte, to POST /qlink/bills. The cart's name comes from here, too.
function sign(req, body) {
  const { quantity } = JSON.parse(body);
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 99) return { status: 422, json: { error: "from 1 to 99" } };
  let code = /(?:^|; )cart=([A-Z0-9-]+)/.exec(req.headers.cookie ?? "")?.[1];
  if (!orders.has(code) || orders.get(code).paid) code = `SPA-${randomBytes(8).toString("hex").toUpperCase()}`;
  orders.set(code, { amount: quantity * price, paid: false });
  const order = JSON.stringify({
    orderCode: code, amount: String(quantity * price), currency, description: "Coffee",
    items: [{ skuCode: "COFFEE", skuName: "Coffee", quantity }],
  });
  const t = Math.floor(Date.now() / 1000);
  const v1 = createHmac("sha256", apiSecret).update(`${t}.POST./qlink/bills.${order}`).digest("hex");
  return { json: { order, signature: `t=${t},v1=${v1}` }, headers: { "Set-Cookie": `cart=${code}; Path=/; HttpOnly; SameSite=Lax` } };
}

// How an order ended: 2xx says that this need not be told again.
async function notified(req, body) {
  if (!verified(req.headers, body)) return { status: 401 };
  const { type, data } = JSON.parse(body);
  if (!type.startsWith("bill.") || !data.order.paid) return { status: 204 }; // unpaid is what an order is until it is paid
  let bill = data;
  if (bill.id !== data.order.paidBill) { // this is about another attempt than the one that paid
    const answer = await fetch(`${qlink}/bills/${data.order.paidBill}`);
    if (!answer.ok) throw new Error(`asking after the paid bill: ${answer.status}`);
    bill = await answer.json();
  }
  const order = orders.get(bill.orderCode);
  if (order && bill.status === "SUCCESS" && bill.currency === currency && Number(bill.amount) === order.amount) {
    order.paid = true; // fulfil here, once
    console.log("paid: %s", bill.orderCode);
  } else {
    console.log("to be looked at: order %j was paid with %j %j", bill.orderCode, bill.amount, bill.currency);
  }
  return { status: 204 };
}

// Whether qlink has signed it: Standard Webhooks, https://www.standardwebhooks.com.
function verified(headers, body) {
  const at = Number(headers["webhook-timestamp"]);
  if (!(Math.abs(Date.now() / 1000 - at) < 300)) return false;
  const key = Buffer.from(notifySecret.slice("whsec_".length), "base64");
  const right = createHmac("sha256", key).update(`${headers["webhook-id"]}.${at}.${body}`).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((given) => {
    const bytes = Buffer.from(given.replace(/^v1,/, ""), "base64");
    return bytes.length === right.length && timingSafeEqual(bytes, right);
  });
}

const routes = { "POST /sign": sign, "POST /notifications": notified };

createServer(async (req, res) => {
  let answer;
  try {
    let body = "";
    for await (const part of req.setEncoding("utf8")) {
      body += part;
      if (body.length > 1 << 20) throw new Error("too large");
    }
    answer = (await routes[`${req.method} ${req.url}`]?.(req, body)) ?? { status: 404 };
  } catch (error) {
    console.error(`${req.method} ${req.url}: ${error.message}`);
    answer = { status: 400 };
  }
  res.writeHead(answer.status ?? 200, { "Content-Type": "application/json", ...answer.headers });
  res.end(answer.json && JSON.stringify(answer.json));
}).listen(port, "127.0.0.1", () => console.log(`the function listens on 127.0.0.1:${port}`));
