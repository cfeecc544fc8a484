package render

import (
	"crypto/sha256"
	"encoding/hex"

	"tidegate.io/tidegate/schemas/render/internal/canon"
)

// canonical returns the canonical JSON of v.
func canonical(v any) ([]byte, error) { return canon.JSON(v) } //nolint:wrapcheck // it says what it is

func hexDigest(v any) (string, error) {
	b, err := canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func digest(v any) (string, error) {
	sum, err := hexDigest(v)
	return "sha256:" + sum, err
}
