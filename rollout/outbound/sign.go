package outbound

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// keyPrefix marks a key that is written in base64.
	keyPrefix = "whsec_"
	// minKey is the fewest bytes of a key (Standard Webhooks, "Signature scheme").
	minKey = 24
)

// Keys reads one signing key or more, with white space between them: several while one is
// replaced by another.
func Keys(written string) ([][]byte, error) {
	var keys [][]byte
	for word := range strings.FieldsSeq(written) {
		key := []byte(word)
		if encoded, ok := strings.CutPrefix(word, keyPrefix); ok {
			var err error
			if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
				return nil, errors.New("wanted base64 behind whsec_, found something else; make a key with: openssl rand -base64 32")
			}
		}
		if len(key) < minKey {
			return nil, fmt.Errorf("wanted signing keys of at least %d bytes, found one of %d; make one with: openssl rand -base64 32", minKey, len(key))
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("wanted a signing key, found nothing; make one with: openssl rand -base64 32")
	}
	return keys, nil
}

// Sign adds the three headers of Standard Webhooks, with one signature for each key. at is
// when the message is sent, and id names it.
func Sign(header http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", stamp)
	header.Set("webhook-signature", strings.Join(signatures, " "))
}
