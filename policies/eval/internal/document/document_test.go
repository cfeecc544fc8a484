package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// byMaps is what decode says, by the engine's own way through Go's maps.
func byMaps(raw []byte) (ast.Value, error) {
	var v any
	d := util.NewJSONDecoder(bytes.NewReader(raw))
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return ast.InterfaceToValue(v)
}

var documents = []string{
	`{}`, `[]`, `null`, `true`, `false`, `"x"`, `0`, `-0`, `-1`, `1.50`, `1e5`, `1E+5`, `1e-5`, `123456789012345678901234567890`, `999`, `1000`,
	`100000`, `1000000`, `12345678`, `0.1`, `-0.0`, `1e400`, `-1e400`, `1e-400`, `9007199254740993`, `4.0`, `{"a": 8080, "b": -7, "c": 2.5e3}`,
	`{"a": {"b": [1, 2, {"c": null}]}, "d": "e"}`, ` { "a" : [ ] } `, "\t[\n1\r,2]",
	`{"a": 1, "a": 2}`, `{"a": {"x": 1}, "a": {"y": 2}}`, `{"a": 1, "A": 2}`,
	`"\u00e9"`, `"\ud83d\ude00"`, `"\ud83d"`, `"a\/b\\c\"d\b\f\n\r\t"`, "\"\xff\"", "\"caf\u00e9\"", `"\u0000"`,
	``, ` `, `{`, `[`, `"`, `"\`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{a: 1}`, `{1: 1}`, `'x'`, `01`, `1.`, `.5`, `-`, `+1`, `1e`, `1e+`,
	`tru`, `nul`, `truex`, `NaN`, `Infinity`, `{} {}`, `1 2`, `{}x`, `[1 2]`, `{"a" 1}`, `"\x"`, `"\u12"`, "\"\n\"", "\"\x00\"", "\ufeff{}", `[[[[[[]]]]]]`,
}

// byFloats is the same for DecodeFloats.
func byFloats(raw []byte) (ast.Value, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return ast.InterfaceToValue(v)
}

func same(t *testing.T, raw []byte) {
	t.Helper()
	want, wantErr := byMaps(raw)
	got, err := Decode(raw)
	compare(t, raw, want, got, wantErr, err)
	want, wantErr = byFloats(raw)
	got, err = DecodeFloats(raw)
	compare(t, raw, want, got, wantErr, err)
}

func compare(t *testing.T, raw []byte, want, got ast.Value, wantErr, err error) {
	t.Helper()
	switch {
	case (wantErr == nil) != (err == nil):
		t.Errorf("%q: wanted error %v, got %v", raw, wantErr, err)
	case err == nil && (want.Compare(got) != 0 || want.Hash() != got.Hash() || want.String() != got.String()):
		t.Errorf("%q: wanted %v, got %v", raw, want, got)
	}
}

func TestDecodeMeansWhatTheEngineMeans(t *testing.T) {
	for _, text := range documents {
		same(t, []byte(text))
	}
	for _, depth := range []int{9_999, 10_000, 10_001, 1_000_000} {
		same(t, []byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)))
	}
}

// TestDecodeMeansTheSameOfWhatIsDamaged is the fuzz test for every day: some thousand
// documents with bytes changed, dropped and put in.
func TestDecodeMeansTheSameOfWhatIsDamaged(t *testing.T) {
	const pieces = "{}[]\",:\\ \n\t0123456789.eE+-truefalsnul\x00\x1f\x7f\xc3\xa9\xff\xed\xa0\x80uUdD/b"
	r := rand.New(rand.NewPCG(1, 2)) // the same ones each time
	for range 20_000 {
		raw := []byte(documents[r.IntN(len(documents))])
		for range 1 + r.IntN(4) {
			at := r.IntN(len(raw) + 1)
			switch c := pieces[r.IntN(len(pieces))]; {
			case r.IntN(3) == 0:
				raw = slices.Insert(raw, at, c)
			case at == len(raw):
			case r.IntN(2) == 0:
				raw[at] = c
			default:
				raw = slices.Delete(raw, at, at+1)
			}
		}
		same(t, raw)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range documents {
		f.Add([]byte(text))
	}
	f.Fuzz(same)
}
