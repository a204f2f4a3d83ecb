package operator_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/operator"
)

func TestThePageNamesEveryAddressAndNoOther(t *testing.T) {
	page, err := os.ReadFile("../docs/admin-api.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(?:GET|POST) (/qlink/[^`]+)`").FindAllStringSubmatch(string(page), -1) {
		documented[strings.Replace(row[1], "{name}", "{id}", 1)] = true
	}
	for _, route := range operator.Routes() {
		if route.Path != "/qlink/" && !documented[route.Path] {
			t.Errorf("%s is not documented", route.Path)
		}
		delete(documented, route.Path)
	}
	for path := range documented {
		t.Errorf("%s is documented and not there", path)
	}
}
