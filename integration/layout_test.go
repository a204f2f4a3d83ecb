package integration

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-qlink/caddy-qlink"

// story 22: the simulator was live in production. What a production build
// links is the root package, and it must not bring the simulator along; nor
// may an arrow between the other packages point back.
func TestProductionBuildsLeaveTheSimulatorOutAndNoImportPointsBack(t *testing.T) {
	for _, rule := range []struct {
		pkg     string
		without []string // prefixes of import paths
	}{
		{module, []string{module + "/sandbox", module + "/examples", module + "/store/postgres", module + "/store/memory"}},
		{module + "/cmd/caddy", []string{module + "/store/postgres/postgrestest"}},
		{module + "/handlers", []string{"github.com/caddyserver/", module + "/store", module + "/sandbox"}},
		{module + "/console", []string{"github.com/caddyserver/", module + "/handlers", module + "/store", module + "/sandbox"}},
		{module + "/operator", []string{"github.com/caddyserver/", module + "/handlers", module + "/console", module + "/store", module + "/sandbox"}},
		{module + "/doctor", []string{"github.com/caddyserver/", module + "/payment", module + "/handlers", module + "/store", module + "/sandbox"}},
		{module + "/cli", []string{"github.com/caddyserver/", module + "/operator", module + "/store", module + "/sandbox"}},
		{module + "/payment", []string{"github.com/caddyserver/", module + "/handlers", module + "/store", module + "/page"}},
		{module + "/store/migrate", []string{
			"github.com/caddyserver/", module + "/payment", module + "/handlers", module + "/store/badger", module + "/store/postgres", module + "/store/memory",
		}},
		{module + "/bill", []string{"github.com/caddyserver/", module + "/qlink", module + "/payment", module + "/store"}},
		{module + "/qlink", []string{"github.com/caddyserver/", module + "/bill", module + "/payment"}},
		{module + "/sandbox", []string{module + "/bill", module + "/payment", module + "/store"}},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", rule.pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, rule.pkg) {
			t.Fatalf("go list does not know %s", rule.pkg)
		}
		for _, dep := range deps {
			if slices.ContainsFunc(rule.without, func(prefix string) bool { return strings.HasPrefix(dep, prefix) }) {
				t.Errorf("%s links %s", rule.pkg, dep)
			}
		}
	}
}
