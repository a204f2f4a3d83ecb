<?php
// A shop in one file, without a framework.
//
// It sells coffee. What makes it a shop for qlink is three things: the answer of
// /checkout, /notifications, and that an order is fulfilled in one place only.

declare(strict_types=1);

const PRICE = 15000;
const CURRENCY = 'IDR';

$db = new PDO('sqlite:' . $_SERVER['SHOP_DATABASE'], options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->exec('PRAGMA busy_timeout = 10000');
$db->exec('CREATE TABLE IF NOT EXISTS orders (code TEXT PRIMARY KEY, quantity INTEGER NOT NULL, paid INTEGER NOT NULL DEFAULT 0)');

function run(string $sql, mixed ...$values): PDOStatement
{
    global $db;
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement;
}

function order_of(string $code): ?array
{
    return run('SELECT code, quantity, paid FROM orders WHERE code = ?', $code)->fetch(PDO::FETCH_ASSOC) ?: null;
}

// The order of the buyer's cart: its code is the cart's, not the click's, so that
// two clicks are one order.
function cart(): ?array
{
    $order = order_of((string) ($_COOKIE['cart'] ?? ''));
    return $order && !$order['paid'] ? $order : null;
}

function page(string $content): void
{
    header('Content-Type: text/html; charset=utf-8');
    echo "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Coffee</title><h1>Coffee</h1>\n$content\n</html>\n";
}

function refuse(int $status, string $why): void
{
    http_response_code($status);
    header('Content-Type: text/plain');
    echo "$why\n";
}

function home(): void
{
    $order = cart();
    if (!$order) {
        $order = ['code' => 'PHP-' . bin2hex(random_bytes(8)), 'quantity' => 1];
        run('INSERT INTO orders (code, quantity) VALUES (?, ?)', $order['code'], $order['quantity']);
        setcookie('cart', $order['code'], ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    }
    ['quantity' => $quantity] = $order;
    page(sprintf('<form method="post" action="/cart">Coffee, %d %s each:
<input name="quantity" value="%d" size="2"> <button>Change</button></form>
<form method="post" action="/checkout"><button>Pay %d %2$s</button></form>', PRICE, CURRENCY, $quantity, $quantity * PRICE));
}

function change_cart(): void
{
    $quantity = filter_var($_POST['quantity'] ?? null, FILTER_VALIDATE_INT, ['options' => ['min_range' => 1, 'max_range' => 99]]);
    if ($quantity === false) {
        refuse(422, 'From 1 to 99.');
        return;
    }
    run('UPDATE orders SET quantity = ? WHERE code = ? AND NOT paid', $quantity, cart()['code'] ?? '');
    header('Location: /', true, 303);
}

// The answer that qlink makes a payment of. The amount is the shop's, from its own
// books.
function checkout(): void
{
    $order = cart();
    if (!$order) {
        header('Location: /', true, 303);
        return;
    }
    $quantity = (int) $order['quantity'];
    http_response_code(201);
    header('Content-Type: application/vnd.qlink.order+json');
    echo json_encode([
        'orderCode' => $order['code'], 'amount' => (string) ($quantity * PRICE), 'currency' => CURRENCY, 'description' => 'Coffee',
        'items' => [['skuCode' => 'COFFEE', 'skuName' => 'Coffee', 'quantity' => $quantity]],
    ], JSON_THROW_ON_ERROR);
}

// How an order ended. 2xx says that this need not be told again; it may come twice
// all the same.
function notified(): void
{
    $body = file_get_contents('php://input');
    if (!verified($body)) {
        http_response_code(401);
        return;
    }
    http_response_code(204);
    $told = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
    if (!str_starts_with($told['type'], 'bill.') || !$told['data']['order']['paid']) {
        return; // unpaid is what an order is until it is paid
    }
    $bill = $told['data'];
    if ($bill['id'] !== $bill['order']['paidBill']) { // this is about another attempt than the one that paid
        $answer = file_get_contents("{$_SERVER['SHOP_QLINK']}/bills/{$bill['order']['paidBill']}");
        if ($answer === false) {
            throw new RuntimeException('the paid bill cannot be asked after');
        }
        $bill = json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
    }
    $order = order_of($bill['orderCode']);
    if ($order && $bill['status'] === 'SUCCESS' && $bill['currency'] === CURRENCY && (float) $bill['amount'] === (float) ($order['quantity'] * PRICE)) {
        run('UPDATE orders SET paid = 1 WHERE code = ?', $order['code']); // fulfil here, once
    } else {
        error_log("to be looked at: order {$bill['orderCode']} was paid with {$bill['amount']} {$bill['currency']}");
    }
}

// Whether qlink has signed it: Standard Webhooks, https://www.standardwebhooks.com.
function verified(string $body): bool
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $at = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!ctype_digit($at) || abs(time() - (int) $at) > 300) {
        return false;
    }
    $key = base64_decode(substr($_SERVER['SHOP_NOTIFY_SECRET'], strlen('whsec_')), true);
    $right = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $given) {
        if (hash_equals($right, $given)) {
            return true;
        }
    }
    return false;
}

function show(string $code): void
{
    $order = order_of($code);
    if (!$order) {
        refuse(404, 'There is no such order.');
        return;
    }
    page(sprintf('<p>Order %s: %s</p>', htmlspecialchars($order['code']), $order['paid'] ? 'paid, thank you' : 'waiting for the payment'));
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
try {
    match (true) {
        "$_SERVER[REQUEST_METHOD] $path" === 'GET /' => home(),
        "$_SERVER[REQUEST_METHOD] $path" === 'POST /cart' => change_cart(),
        "$_SERVER[REQUEST_METHOD] $path" === 'POST /checkout' => checkout(),
        "$_SERVER[REQUEST_METHOD] $path" === 'POST /notifications' => notified(),
        str_starts_with($path, '/orders/') => show(substr($path, strlen('/orders/'))),
        default => refuse(404, 'Not here.'),
    };
} catch (Throwable $error) { // qlink will tell it again
    error_log("$_SERVER[REQUEST_METHOD] $path: {$error->getMessage()}");
    refuse(500, 'Try again.');
}
