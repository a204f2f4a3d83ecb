package payment_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// What has been signed by these keys is kept by browsers: they never change.
func TestKeysAreOfTheSecretTheLedgerAndThePurpose(t *testing.T) {
	keys := func(a payment.Account, purpose string) [][]byte {
		t.Helper()
		derived, err := a.Keys(purpose)
		if err != nil {
			t.Fatal(err)
		}
		return derived
	}
	own := payment.Account{Name: "default", Ledger: "ledger", Secrets: []string{"secret"}}
	key := keys(own, "purpose")[0]
	if got := hex.EncodeToString(key); got != "9103e48ae00a9ed4adff2ace3b0303aac2781dedca95b1b0a50420b3c55599fc" {
		t.Errorf("the key is %s", got)
	}
	rotated := own
	rotated.Secrets = []string{"newer", "secret"}
	if both := keys(rotated, "purpose"); len(both) != 2 || !bytes.Equal(both[1], key) || bytes.Equal(both[0], key) {
		t.Errorf("after a rotation the keys are %x", both)
	}
	renamed, elsewhere := own, own
	renamed.Name, elsewhere.Ledger = "other", "elsewhere"
	if !bytes.Equal(keys(renamed, "purpose")[0], key) {
		t.Error("an account's name is a part of its key")
	}
	for what, other := range map[string][]byte{"another ledger": keys(elsewhere, "purpose")[0], "another purpose": keys(own, "something else")[0]} {
		if bytes.Equal(other, key) {
			t.Errorf("%s has the same key", what)
		}
	}
	if none := keys(payment.Account{}, "purpose"); len(none) != 0 {
		t.Errorf("without a secret there are %d keys", len(none))
	}
}
