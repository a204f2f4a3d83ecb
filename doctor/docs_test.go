package doctor_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/doctor"
)

func TestTheDocumentExplainsEveryCheckInItsOrder(t *testing.T) {
	text := readFile(t, "../docs/doctor.md")
	var explained []doctor.Check
	for _, m := range regexp.MustCompile("(?m)^### `(.+)`$").FindAllStringSubmatch(text, -1) {
		explained = append(explained, doctor.Check(m[1]))
	}
	if !slices.Equal(explained, doctor.Checks()) {
		t.Errorf("docs/doctor.md explains\n%q\nthe checks are\n%q", explained, doctor.Checks())
	}
}
