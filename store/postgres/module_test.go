//go:build linux

package postgres

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

func TestTheCaddyfileIsRead(t *testing.T) {
	for input, wrong := range map[string]string{
		"postgres {\n\tdsn postgres:///shop\n}": "",
		"postgres {\n\tdsn postgres:///shop\n\tschema shop\n\tmax_conns 4\n\tmin_conns 2\n\tlisten off\n}": "",
		"postgres":                                 "no dsn",
		"postgres postgres:///shop":                "wrong argument count",
		"postgres {\n\tdsn\n}":                     "wrong argument count",
		"postgres {\n\tdsn a b\n}":                 "wrong argument count",
		"postgres {\n\tdsn a\n\tdsn b\n}":          "dsn is given twice",
		"postgres {\n\tdsn a\n\tpath /var\n}":      `unrecognized option "path"`,
		"postgres {\n\tdsn a\n\tmax_conns many\n}": "no number above zero",
		"postgres {\n\tdsn a\n\tmin_conns 0\n}":    "no number above zero",
		"postgres {\n\tdsn a {\n\t\tb\n\t}\n}":     "dsn takes no block",
	} {
		err := new(Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(strings.ToLower(err.Error()), wrong) {
			t.Errorf("%q: %v, want %q", input, err, wrong)
		}
	}
}

func TestSettingsAreCheckedBeforeAnythingIsConnected(t *testing.T) {
	t.Setenv("QLINK_TEST_DSN", "postgres://shop:s3cret@db.invalid/shop?sslmode=require")
	for wrong, s := range map[string]*Store{
		"":            {DSN: "{env.QLINK_TEST_DSN}", Schema: "shop_1"},
		"dsn":         {DSN: "{env.QLINK_TEST_UNSET}"},
		"is empty":    {},
		"schema":      {DSN: "host=db.invalid", Schema: `a"; DROP TABLE bills; --`},
		"max_conns":   {DSN: "host=db.invalid", MaxConns: 5000},
		"min_conns":   {DSN: "host=db.invalid", MinConns: 17},
		"listen":      {DSN: "host=db.invalid", Listen: "maybe"},
		"cannot pars": {DSN: "postgres://shop:s3cret@db.invalid/shop?sslmode=perhaps"},
	} {
		err := s.Provision(caddy.Context{})
		if (err == nil) != (wrong == "") || err != nil && (!strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("want %q: %v", wrong, err)
		}
	}
}

// A reload that changes only how to get in finds the store that is open.
func TestTheKeyNamesTheDatabaseAndNoSecret(t *testing.T) {
	key := func(s Store) string {
		t.Helper()
		if err := s.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		key, err := s.Key()
		if err != nil || strings.Contains(key, "s3cret") {
			t.Fatalf("%q, %v", key, err)
		}
		return key
	}
	one := key(Store{DSN: "postgres://shop:s3cret@db.invalid:5433/shop"})
	for name, c := range map[string]struct {
		store Store
		same  bool
	}{
		"another password":  {Store{DSN: "postgres://shop:other@db.invalid:5433/shop"}, true},
		"another user":      {Store{DSN: "postgres://admin:s3cret@db.invalid:5433/shop", MaxConns: 3, Listen: "off"}, true},
		"keywords":          {Store{DSN: "host=db.invalid port=5433 dbname=shop user=shop password=s3cret", Schema: "qlink"}, true},
		"another database":  {Store{DSN: "postgres://shop:s3cret@db.invalid:5433/other"}, false},
		"another port":      {Store{DSN: "postgres://shop:s3cret@db.invalid:5434/shop"}, false},
		"another schema":    {Store{DSN: "postgres://shop:s3cret@db.invalid:5433/shop", Schema: "other"}, false},
		"a second host":     {Store{DSN: "postgres://shop:s3cret@db.invalid:5433,db2.invalid:5433/shop"}, false},
		"another first one": {Store{DSN: "postgres://shop:s3cret@db2.invalid:5433/shop"}, false},
	} {
		if (key(c.store) == one) != c.same {
			t.Errorf("%s: the same key is %t", name, !c.same)
		}
	}
}

func TestTheModuleIsAnOpener(t *testing.T) {
	info, err := caddy.GetModule("qlink.stores.postgres")
	if err != nil {
		t.Fatal(err)
	}
	opener, ok := info.New().(bill.Opener)
	if !ok {
		t.Fatalf("%T is no bill.Opener", info.New())
	}
	if _, err := opener.Open(t.Context(), bill.Env{}); err == nil {
		t.Error("opened without having been provisioned")
	}
	s := opener.(*Store)
	s.DSN = postgrestest.Shared(t).Database()
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	opened, err := opener.Open(t.Context(), bill.Env{})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, opened, only(sample("a")))
	if err := s.Adopt(t.Context(), opened); err != nil {
		t.Error(err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}
