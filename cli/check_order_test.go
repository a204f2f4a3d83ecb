package cli_test

import (
	"net/http"
	"testing"
)

const order = `{"orderCode":"O1","amount":"15000","expiresIn":"30m","metadata":{"a":1},"items":[{"skuCode":"S","skuName":"Cup","quantity":1}]}`

func TestAGoodOrderIsShownAsItIsUnderstood(t *testing.T) {
	offline(t, order, "check-order", "--currency", "IDR", "--country", "ID", "--pay-type", "ONLINE", "--pay-channel", "QRIS").want(t, 0, `Order       good
Order code  O1
Amount      15000 IDR
Country     ID
Way to pay  ONLINE / QRIS
Expires in  30m0s
Items       1
Metadata    {"a":1}
`)
	offline(t, "", "check-order", "--offer", "--currency", "IDR", "--country", "ID", write(t, order)).has(t, 0, "the buyer chooses")
}

func TestABadOrderIsToldFieldByField(t *testing.T) {
	r := offline(t, `{"orderCode":"","amount":1.234,"currency":"IDR","country":"id"}`, "check-order")
	r.has(t, 3, "FIELD           FAULT\n", "orderCode       is required\n", "country         ", "amount          ", "payChannelCode  is required")
	offline(t, `{"amount":1,"amount":2}`, "check-order").has(t, 3, "(all of it)  not strict JSON")
	offline(t, order, "check-order", "--json", "--currency", "IDR", "--country", "ID", "--pay-type", "ONLINE").
		want(t, 3, `{"ok":false,"errors":[{"field":"payChannelCode","message":"is required, as the account has no default"}]}`+"\n")
}

func TestAnAccountOfARunningCaddyFillsIn(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/accounts": says(200, `{"accounts":[
		{"name":"default","country":"ID","currency":"IDR","payType":"ONLINE","payChannel":"QRIS"},
		{"name":"choice","country":"ID","currency":"IDR","choice":true,"offer":["ONLINE/QRIS",{"type":"ONLINE","channel":"VA"}]}]}`)})
	a.run("check-order", "--account", "default", "--json", write(t, order)).want(t, 0, `{"ok":true,"errors":[]}`+"\n")
	a.run("check-order", "--account", "choice", write(t, order)).has(t, 0, "the buyer chooses")
	a.run("check-order", "--account", "choice", write(t, `{"orderCode":"O1","amount":"1","payTypeCode":"OFFLINE"}`)).has(t, 3, "none that the account offers")
	a.run("check-order", "--account", "other", write(t, order)).complains(t, 3, `no account is named "other"`)
	a.run("check-order", "--account", "default", "--currency", "KWD", write(t, order)).has(t, 0, "15000 KWD")
}
