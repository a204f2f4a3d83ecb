"""A shop in one file, with Python's standard library alone (WSGI).

It sells coffee. What makes it a shop for qlink is three things: the answer of
/checkout, /notifications, and that an order is fulfilled in one place only.

    python3 examples/shops/python/shop.py
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
import urllib.request
from decimal import Decimal
from http.cookies import SimpleCookie
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

PORT = int(os.environ.get("SHOP_PORT", "8097"))
QLINK = f"http://127.0.0.1:{os.environ.get('SHOP_SITE_PORT', '8095')}/qlink"
SECRET = os.environ.get("SHOP_NOTIFY_SECRET", "whsec_c2hvcC1ub3RpZmljYXRpb25zLW9mLXRoZS1leGFtcGxlIQ==")
PRICE, CURRENCY = 15000, "IDR"

db = sqlite3.connect(os.environ.get("SHOP_DATABASE", "/tmp/qlink-python-shop.sqlite"), isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS orders (code TEXT PRIMARY KEY, quantity INTEGER NOT NULL, paid INTEGER NOT NULL DEFAULT 0)")


def order_of(code):
    return db.execute("SELECT code, quantity, paid FROM orders WHERE code = ?", (code,)).fetchone()


def cart_of(environ):
    """The order code of the buyer's cart: the cart's, not the click's, so that two clicks are one order."""
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("cart")
    order = cookie and order_of(cookie.value)
    return order[0] if order and not order[2] else None


def body_of(environ, most=1 << 20):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > most:
        raise ValueError("too large")
    return environ["wsgi.input"].read(length)


def home(environ):
    code, headers = cart_of(environ), []
    if code is None:
        code = "PY-" + secrets.token_hex(8)
        db.execute("INSERT INTO orders (code, quantity) VALUES (?, 1)", (code,))
        headers = [("Set-Cookie", f"cart={code}; Path=/; HttpOnly; SameSite=Lax")]
    quantity = order_of(code)[1]
    return page(
        f"""<form method="post" action="/cart">Coffee, {PRICE} {CURRENCY} each:
<input name="quantity" value="{quantity}" size="2"> <button>Change</button></form>
<form method="post" action="/checkout"><button>Pay {quantity * PRICE} {CURRENCY}</button></form>""",
        headers,
    )


def change_cart(environ):
    quantity = parse_qs(body_of(environ).decode("ascii", "replace")).get("quantity", [""])[0]
    if not quantity.isdecimal() or not 1 <= int(quantity) <= 99:
        return "422 Unprocessable Content", [("Content-Type", "text/plain")], b"From 1 to 99.\n"
    db.execute("UPDATE orders SET quantity = ? WHERE code = ? AND NOT paid", (int(quantity), cart_of(environ)))
    return see("/")


def checkout(environ):
    """The answer that qlink makes a payment of. The amount is the shop's, from its own books."""
    code = cart_of(environ)
    if code is None:
        return see("/")
    quantity = order_of(code)[1]
    order = {
        "orderCode": code, "amount": str(quantity * PRICE), "currency": CURRENCY, "description": "Coffee",
        "items": [{"skuCode": "COFFEE", "skuName": "Coffee", "quantity": quantity}],
    }
    return "201 Created", [("Content-Type", "application/vnd.qlink.order+json")], json.dumps(order).encode()


def notified(environ):
    """How an order ended. 2xx says that this need not be told again; it may come twice all the same."""
    body = body_of(environ)
    if not verified(environ, body):
        return "401 Unauthorized", [], b""
    told = json.loads(body)
    if not told["type"].startswith("bill.") or not told["data"]["order"]["paid"]:
        return "204 No Content", [], b""  # unpaid is what an order is until it is paid
    bill = told["data"]
    if bill["id"] != bill["order"]["paidBill"]:  # this is about another attempt than the one that paid
        with urllib.request.urlopen(f"{QLINK}/bills/{bill['order']['paidBill']}", timeout=10) as answer:
            bill = json.load(answer)
    order = order_of(bill["orderCode"])
    if order and bill["status"] == "SUCCESS" and bill["currency"] == CURRENCY and Decimal(bill["amount"]) == order[1] * PRICE:
        db.execute("UPDATE orders SET paid = 1 WHERE code = ?", (order[0],))  # fulfil here, once
    else:
        print(f"to be looked at: order {bill['orderCode']!r} was paid with {bill['amount']!r} {bill['currency']!r}", flush=True)
    return "204 No Content", [], b""


def verified(environ, body):
    """Whether qlink has signed it: Standard Webhooks, https://www.standardwebhooks.com."""
    name, at = environ.get("HTTP_WEBHOOK_ID", ""), environ.get("HTTP_WEBHOOK_TIMESTAMP", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > 300:
        return False
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = "v1," + base64.b64encode(hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)).decode()
    return any(hmac.compare_digest(right.encode(), given.encode()) for given in environ.get("HTTP_WEBHOOK_SIGNATURE", "").split())


def show(environ, code):
    order = order_of(code)
    if order is None:
        return "404 Not Found", [("Content-Type", "text/plain")], b"There is no such order.\n"
    return page(f"<p>Order {order[0]}: {'paid, thank you' if order[2] else 'waiting for the payment'}</p>", [])


def page(content, headers):
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Coffee</title><h1>Coffee</h1>\n{content}\n</html>\n'
    return "200 OK", [("Content-Type", "text/html; charset=utf-8"), *headers], html.encode()


def see(path):
    return "303 See Other", [("Location", path)], b""


def shop(environ, start_response):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    routes = {("GET", "/"): home, ("POST", "/cart"): change_cart, ("POST", "/checkout"): checkout, ("POST", "/notifications"): notified}
    try:
        if (method, path) in routes:
            status, headers, body = routes[method, path](environ)
        elif method == "GET" and path.startswith("/orders/"):
            status, headers, body = show(environ, path.removeprefix("/orders/"))
        else:
            status, headers, body = "404 Not Found", [("Content-Type", "text/plain")], b"Not here.\n"
    except Exception as error:  # qlink will tell it again
        print(f"{method} {path}: {error!r}", flush=True)
        status, headers, body = "500 Internal Server Error", [("Content-Type", "text/plain")], b"Try again.\n"
    start_response(status, headers)
    return [body]


if __name__ == "__main__":
    with make_server("127.0.0.1", PORT, shop) as server:
        print(f"the shop listens on 127.0.0.1:{PORT}", flush=True)
        server.serve_forever()
