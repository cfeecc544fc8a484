package render

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// FuzzValues checks what holds for all values, whatever they are: either objects or
// mistakes come of them, never both and never a crash; each mistake is one line that
// begins with values; the order of keys does not matter; and no sensitive value is
// repeated.
func FuzzValues(f *testing.F) {
	templates := map[string]*Template{}
	for _, c := range corpora {
		templates[c.template] = compile(f, testdata(f, c.template))
		_, all := corpus(f, c.file, c.least)
		for _, m := range all {
			f.Add([]byte(m.values))
		}
		f.Add([]byte("{" + c.least + "}"))
	}
	f.Add([]byte(`{"token": "Hunter2Secret", "level": "Hunter2Secret", "password": "Hunter2Secret", "tokens": {"Hunter2Secret": "Hunter2Secret"}}`))
	f.Add([]byte(`{"port": 1.50, "scale": 0.000001, "odd": -9223372036854775808}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, tpl := range templates {
			result, err := tpl.Render(data, cart)
			if (result == nil) == (err == nil) {
				t.Fatalf("%s: wanted either objects or an error, got %v and %v", name, result, err)
			}
			if err != nil {
				checkMistakes(t, tpl, data, err)
			}
			again, errAgain := tpl.Render(sorted(data), cart)
			switch {
			case err == nil && (errAgain != nil || again.Digest != result.Digest):
				t.Errorf("%s: wanted the same objects for another order of the keys, got %v", name, errAgain)
			case err != nil && errAgain == nil && readable(data):
				t.Errorf("%s: wanted the same mistakes for another order of the keys, got none instead of %v", name, err)
			}
		}
	})
}

func readable(data []byte) bool {
	_, mistakes := values.Parse(data)
	return len(mistakes) == 0
}

// sorted is data with its keys in the order of the alphabet, or as it is where it cannot
// be read.
func sorted(data []byte) []byte {
	var v any
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if !readable(data) || d.Decode(&v) != nil {
		return data
	}
	out, err := json.Marshal(v)
	if err != nil || len(out) > values.MaxBytes {
		return data
	}
	return out
}

func checkMistakes(t *testing.T, tpl *Template, data []byte, err error) {
	t.Helper()
	var wrong *ValuesError
	if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
		t.Fatalf("wanted a ValuesError, got %v", err)
	}
	var secrets []string
	if tree, mistakes := values.Parse(data); len(mistakes) == 0 {
		for _, name := range []string{"token", "password"} {
			if n := tree.Field(name); n != nil && n.Kind == values.String && len(n.Text) > 5 && tpl.variables.Exists() && declares(tpl.variables, name) {
				secrets = append(secrets, n.Text)
			}
		}
	}
	fixed := withheld + " wanted what the template allows, found something that is not shown, because the variable is sensitive"
	for _, p := range wrong.Problems {
		line := p.String()
		if !strings.HasPrefix(line, "values: ") && !strings.HasPrefix(line, "values.") && !strings.HasPrefix(line, "values[") {
			t.Errorf("wanted a line that begins with values, got %q", line)
		}
		if strings.ContainsAny(line, "\n\r") {
			t.Errorf("wanted one line, got %q", line)
		}
		for _, s := range secrets {
			if strings.Contains(p.Message+p.Hint, s) && !strings.Contains(fixed, s) {
				t.Errorf("wanted no sensitive value repeated, got %q", line)
			}
		}
	}
	if len(err.Error()) > 4*maxProblemBytes {
		t.Errorf("wanted a bounded message, got %d bytes", len(err.Error()))
	}
}
