package handlers

import (
	"os"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// docs/openapi.yaml lists every code of a problem, and no other.
func TestTheDescriptionKnowsEveryCode(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct {
						Code struct{ Enum []string }
					}
				} `yaml:"Problem"`
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range []*problem{
		errNoRoute, errMethod, errTooLarge, errCutShort, errOrigin, errSignature, errStale, errBadWait, errIdempotencyKey, errForgeries,
		errBodyTimeout, errMediaType, errBadChoice, errNoQR, errUpstreamOrder, badOrder, tooManyOpen, tooManyOfYou, unavailable, closed, internal,
	} {
		codes = append(codes, p.Code)
	}
	for code := range refusalTable {
		codes = append(codes, string(code))
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	listed := slices.Sorted(slices.Values(doc.Components.Schemas.Problem.Properties.Code.Enum))
	if !slices.Equal(codes, listed) {
		t.Errorf("answered: %v\ndescribed: %v", codes, listed)
	}
}
