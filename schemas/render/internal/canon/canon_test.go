package canon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"tidegate.io/tidegate/schemas/render/internal/canon"
)

// many has more keys than most objects.
func many() map[string]any {
	m := map[string]any{}
	for i := range 40 {
		m[fmt.Sprintf("key%d", i*7%40)] = int64(i)
	}
	return m
}

// Digests are of this text: what was written before has to stand in it as if it were
// written now.
func TestWhatWasWrittenStandsAsItIs(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"an object":              map[string]any{"b": []any{int64(1), "<x>"}, "a": nil},
		"an object of many keys": many(),
		"a list":                 []any{map[string]any{}, true, "é"},
		"text":                   "a\"b\u2028",
		"nothing":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := func(v any) []byte {
				b, err := canon.JSON(v)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			want := at(map[string]any{"objects": []any{v, v}, "rollout": v})
			got := at(map[string]any{"objects": []canon.Written{at(v), at(v)}, "rollout": canon.Written(at(v))})
			if !bytes.Equal(got, want) {
				t.Errorf("wanted %s, found %s", want, got)
			}
			plain, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var decoded, again any
			if err := json.Unmarshal(at(v), &decoded); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(plain, &again); err != nil {
				t.Fatal(err)
			}
			if a, b := fmt.Sprint(decoded), fmt.Sprint(again); a != b {
				t.Errorf("wanted %s, found %s", b, a)
			}
		})
	}
}

func TestNoListOfWhatWasWrittenIsNull(t *testing.T) {
	t.Parallel()
	if b, err := canon.JSON([]canon.Written(nil)); err != nil || string(b) != "null" {
		t.Errorf("wanted null, found %s, %v", b, err)
	}
}
