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

type laterOfHandler struct {
	Page jsontext.Value `json:"page,omitempty"`
}

func (l laterOfHandler) check() error {
	if l.Page != nil {
		return unsupportedError("page")
	}
	return nil
}
