package caddyqlink

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// The grammar is fixed for all versions, the features behind it are not. What
// a later version brings is refused by name, in the Caddyfile and in JSON:
// skipping it would take a merchant's word without keeping it.

// unsupportedError names an option that this version does not know how to honour.
func unsupportedError(name string) error {
	return fmt.Errorf("%s is not supported by this version yet", name)
}

type laterOfAccount struct {
	Offer jsontext.Value `json:"offer,omitempty"`
}

func (l laterOfAccount) check() error {
	return firstSet(named{"offer", l.Offer})
}

type laterOfHandler struct {
	Retry jsontext.Value `json:"retry,omitempty"`
	Page  jsontext.Value `json:"page,omitempty"`
}

func (l laterOfHandler) check() error {
	return firstSet(named{"retry", l.Retry}, named{"page", l.Page})
}

type named struct {
	name string
	raw  jsontext.Value
}

func firstSet(fields ...named) error {
	for _, f := range fields {
		if f.raw != nil {
			return unsupportedError(f.name)
		}
	}
	return nil
}
