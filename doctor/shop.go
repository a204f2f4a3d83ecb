package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// testType is of no event that any shop acts upon.
const testType = "qlink.test"

// examineShop posts a message rightly signed, and another that is not.
func (x *examination) examineShop(ctx context.Context, s Shop, say say) {
	whose := "the shop's (" + bill.ShownURL(s.URL) + ")"
	right, err := x.tell(ctx, s, s.Secrets)
	takes := examineTaking(s, right, err, say)
	x.examineRefusing(ctx, s, takes, say)
	examineClock(right.sight, whose, say)
	examineCertificate(s.URL, whose, right.sight, err, x.Now(), say)
}

// examineTaking judges the answer to a message as it should be.
func examineTaking(s Shop, r reply, err error, say say) bool {
	at := bill.ShownURL(s.URL)
	const kinds = "Shops answer 2xx to every rightly signed message, also of a type that they do not know."
	switch {
	case err != nil:
		say(CheckShop, Failed, "the shop at "+at+" cannot be reached: "+quoted(reasonOf(err)),
			"Check the URL of notify, and whether the shop runs. What it is not told now is told later, for three days.")
	case r.status/100 == 2:
		say(CheckShop, OK, "the shop at "+at+" takes rightly signed messages", "")
		return true
	case r.status/100 == 3:
		say(CheckShop, Failed, fmt.Sprintf("the shop at %s redirects (HTTP %d), which is not followed", at, r.status), "Name in notify the URL that it redirects to.")
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		say(CheckShop, Failed, fmt.Sprintf("the shop at %s refuses a rightly signed message (HTTP %d)", at, r.status),
			"Compare the secret of notify with the shop's, and the shop's clock with this machine's; see that no login is in front of the URL.")
	default:
		say(CheckShop, Failed, fmt.Sprintf("the shop at %s answers HTTP %d to a rightly signed message of the type %s", at, r.status, testType), kinds+" Look into the shop's log.")
	}
	return false
}

// examineRefusing sends what a forger would, as far as that can be harmless.
func (x *examination) examineRefusing(ctx context.Context, s Shop, takes bool, say say) {
	if !takes {
		say(CheckShopSignature, Skipped, "cannot be told of a shop that does not take what is rightly signed: "+bill.ShownURL(s.URL), "")
		return
	}
	forged := make([]byte, 32)
	_, _ = rand.Read(forged) // never fails
	r, err := x.tell(ctx, s, [][]byte{forged})
	switch {
	case err != nil:
		say(CheckShopSignature, Warning, "the shop at "+bill.ShownURL(s.URL)+" gave no answer to a wrongly signed message: "+quoted(reasonOf(err)), "Run the doctor again.")
	case r.status/100 == 2:
		say(CheckShopSignature, Failed, fmt.Sprintf("your shop does not verify signatures: %s answered HTTP %d to a message signed with a made-up secret, so anybody could tell it that an order is paid", bill.ShownURL(s.URL), r.status),
			"Verify webhook-signature with a Standard Webhooks library before anything else, for types that the shop does not know too, and answer 401 where it does not match.")
	default:
		say(CheckShopSignature, OK, fmt.Sprintf("the shop at %s refuses a wrongly signed message (HTTP %d)", bill.ShownURL(s.URL), r.status), "")
	}
}

// tell posts a test message, signed with these secrets.
func (x *examination) tell(ctx context.Context, s Shop, secrets [][]byte) (reply, error) {
	now, id := x.Now(), "msg_doctor_"+x.NewID()
	body := fmt.Appendf(nil, `{"type":%q,"timestamp":%q,"data":{}}`, testType, now.UTC().Format(time.RFC3339))
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		hook, err := standardwebhooks.NewWebhookRaw(secret)
		if err != nil {
			return reply{}, err
		}
		signature, err := hook.Sign(id, now, body)
		if err != nil {
			return reply{}, err
		}
		signatures = append(signatures, signature)
	}
	header := make(http.Header)
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return x.post(ctx, s.URL, header, body)
}
