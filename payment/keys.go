package payment

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// Keys derives a key for one purpose from each of the account's secrets, in
// their order: the first is to sign, every one verifies. All nodes that share
// the account share them, a rotation reaches them, nothing is stored, and no
// secret itself is ever used on what others can see. Purposes tell keys apart.
func (a *Account) Keys(purpose string) ([][]byte, error) {
	keys := make([][]byte, 0, len(a.Secrets))
	for _, secret := range a.Secrets {
		key, err := hkdf.Key(sha256.New, []byte(secret), []byte(a.Ledger), purpose, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the keys of account %s: %w", a.Name, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
