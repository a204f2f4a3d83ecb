package sandbox

import (
	"cmp"
	"fmt"
)

// WebhookMode is what happens to notifications.
type WebhookMode string

// Notifications are posted as they come, never, two at a time, in pairs the
// wrong way round, or after a delay.
const (
	WebhooksNormal    WebhookMode = "normal"
	WebhooksLose      WebhookMode = "lose"
	WebhooksDuplicate WebhookMode = "duplicate"
	WebhooksReorder   WebhookMode = "reorder"
	WebhooksDelay     WebhookMode = "delay"
)

// Settings are what the control API changes while the sandbox runs. An empty
// field leaves what the configuration says. They are kept with the ledger.
type Settings struct {
	// Repeat: refuse or answer a tradeUuid seen before.
	Repeat string `json:"repeat,omitzero"`
	// Envelope: bare, beside, result, data, content or content_text.
	Envelope string `json:"envelope,omitzero"`
	// StatusAnswer: auto, object or array.
	StatusAnswer string `json:"statusAnswer,omitzero"`
	// Webhooks: normal, lose, duplicate, reorder or delay.
	Webhooks WebhookMode `json:"webhooks,omitzero"`
	// WebhookDelay is how long delay delays, and how long reorder waits for a
	// second notification; default 5s.
	WebhookDelay Duration `json:"webhookDelay,omitzero"`
}

func (s *Settings) check() error {
	for _, f := range []struct {
		name, value string
		words       []string
	}{
		{"repeat", s.Repeat, repeats},
		{"envelope", s.Envelope, envelopes},
		{"statusAnswer", s.StatusAnswer, statusAnswers},
		{"webhooks", string(s.Webhooks), []string{
			string(WebhooksNormal), string(WebhooksLose), string(WebhooksDuplicate), string(WebhooksReorder), string(WebhooksDelay),
		}},
	} {
		if f.value == "" {
			continue
		}
		if err := oneOf(f.value, f.words...); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// over gives s where it says something, and base elsewhere.
func (s Settings) over(base Settings) Settings {
	return Settings{
		Repeat:       cmp.Or(s.Repeat, base.Repeat),
		Envelope:     cmp.Or(s.Envelope, base.Envelope),
		StatusAnswer: cmp.Or(s.StatusAnswer, base.StatusAnswer),
		Webhooks:     cmp.Or(s.Webhooks, base.Webhooks),
		WebhookDelay: cmp.Or(s.WebhookDelay, base.WebhookDelay),
	}
}

// rules are what is in force: the control API's settings over the configuration.
func (s *Sandbox) rules(set Settings) Settings {
	return set.over(Settings{
		Repeat: s.conf.repeat, Envelope: s.conf.envelope, StatusAnswer: s.conf.statusAnswer,
		Webhooks: WebhooksNormal, WebhookDelay: Duration(defaultHold),
	})
}
