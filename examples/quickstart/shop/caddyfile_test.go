package shop

import (
	"context"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func adapt(options string) (string, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":0 {\n\tqlink_quickstart_shop"+options+"\n}\n"), nil)
	return string(config), err
}

func TestEveryOptionIsAdapted(t *testing.T) {
	config, err := adapt(` {
		qlink http://localhost:8080/qlink
		secret {env.SHOP_SECRET}
		notification_secret {env.SHOP_NOTIFICATION_SECRET}
		data /srv/shop
		sandbox http://127.0.0.1:8081/
	}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"data":"/srv/shop","handler":"qlink_quickstart_shop","notification_secret":"{env.SHOP_NOTIFICATION_SECRET}","qlink":"http://localhost:8080/qlink","sandbox":"http://127.0.0.1:8081/","secret":"{env.SHOP_SECRET}"}`
	if !strings.Contains(config, want) {
		t.Fatalf("got %s", config)
	}
}

func TestABadOptionIsNamedWithItsLine(t *testing.T) {
	rows := map[string]string{
		" extra":                                  "Caddyfile:2",
		" {\n\t\tprice 1\n\t}":                    "unrecognized option 'price', at Caddyfile:3",
		" {\n\t\tdata\n\t}":                       "Caddyfile:3",
		" {\n\t\tdata a b\n\t}":                   "Caddyfile:3",
		" {\n\t\tsecret one\n\t\tsecret two\n\t}": "secret is given twice, at Caddyfile:4",
	}
	for options, want := range rows {
		if _, err := adapt(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %s", options, err, want)
		}
	}
}

func TestABadSettingIsNamed(t *testing.T) {
	rows := map[string]struct {
		shop *Shop
		want string
	}{
		"no secret":       {&Shop{QLink: "http://localhost/qlink"}, "secret: "},
		"no qlink":        {&Shop{Secret: "s"}, "qlink: "},
		"a path only":     {&Shop{Secret: "s", QLink: "/qlink"}, "qlink: "},
		"another scheme":  {&Shop{Secret: "s", QLink: "ftp://localhost/qlink"}, "qlink: "},
		"no whsec":        {&Shop{Secret: "s", QLink: "http://localhost/qlink", NotificationSecret: strings.Repeat("k", 40)}, "notification_secret: "},
		"a short key":     {&Shop{Secret: "s", QLink: "http://localhost/qlink", NotificationSecret: "whsec_"}, "notification_secret: "},
		"no base64":       {&Shop{Secret: "s", QLink: "http://localhost/qlink", NotificationSecret: "whsec_" + strings.Repeat("-", 40)}, "notification_secret: "},
		"an unset secret": {&Shop{Secret: "{env.QLINK_TEST_UNSET}", QLink: "http://localhost/qlink"}, "secret: "},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
			defer cancel()
			if err := row.shop.Provision(ctx); err == nil || !strings.HasPrefix(err.Error(), row.want) {
				t.Errorf("got error %v", err)
			}
			if err := row.shop.Cleanup(); err != nil { // runs after a failed Provision too
				t.Error(err)
			}
		})
	}
}

func TestASecretMayStandInTheEnvironment(t *testing.T) {
	t.Setenv("QLINK_TEST_SECRET", "from outside")
	s := provision(t, &Shop{Secret: "{env.QLINK_TEST_SECRET}", QLink: "http://localhost/qlink"})
	if string(s.till.secret) != "from outside" || s.Secret != "{env.QLINK_TEST_SECRET}" {
		t.Fatalf("resolved %q, kept %q", s.till.secret, s.Secret)
	}
}
