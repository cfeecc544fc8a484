package offline

import (
	"io"
	"strings"
	"testing"
)

// endless is a device that has something to read for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAFileWithoutEndIsRefused(t *testing.T) {
	if _, err := read("-", io.LimitReader(endless{}, 64<<20)); err == nil || !strings.Contains(err.Error(), "reading standard input: wanted at most 16777216 bytes, found more") {
		t.Errorf("wanted a refusal, found %v", err)
	}
	if data, err := read("-", strings.NewReader("image: a")); err != nil || string(data) != "image: a" {
		t.Errorf("wanted what was written, found %q and %v", data, err)
	}
}
