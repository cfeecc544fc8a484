package ask

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// read makes a value of text, of the first type that the gate lets pass; where there is
// none it shows what is wrong with the likeliest.
func (a *Asker) read(s schema, text string, at spot) (any, bool) {
	candidates := readings(s, text)
	for _, v := range candidates {
		if len(a.Check(at.whole(v), at.path)) == 0 {
			a.wrong = 0
			return v, true
		}
	}
	a.mistakes(at, candidates[0])
	return nil, false
}

// readings are what text can stand for, the likeliest first.
func readings(s schema, text string) []any {
	options := enum(s)
	var typed []any
	for _, o := range options {
		if fmt.Sprint(o) == text {
			typed = append(typed, o)
		}
	}
	typed = append(typed, literals(s, strings.TrimSpace(text))...)
	if i, err := strconv.Atoi(text); err == nil && i >= 1 && i <= len(options) && len(typed) == 0 {
		typed = append(typed, options[i-1])
	}
	return append(typed, text)
}

// literals are the boolean, null and number that text can stand for.
func literals(s schema, text string) []any {
	var out []any
	switch lower := strings.ToLower(text); {
	case accepts(s, "boolean") && slices.Contains([]string{"y", "yes", "true"}, lower):
		out = append(out, true)
	case accepts(s, "boolean") && slices.Contains([]string{"n", "no", "false"}, lower):
		out = append(out, false)
	case accepts(s, "null") && lower == "null":
		out = append(out, nil)
	}
	if number := json.Number(text); accepts(s, "number") && json.Valid([]byte(text)) {
		if _, err := number.Float64(); err == nil {
			out = append(out, number)
		}
	}
	return out
}

// mistakes shows what is wrong with v at the spot; false where nothing is.
func (a *Asker) mistakes(at spot, v any) bool {
	lines := a.Check(at.whole(v), at.path)
	for _, l := range lines {
		a.say("  %s\n", l)
	}
	if len(lines) == 0 {
		a.wrong = 0
		return false
	}
	a.wrong++
	return true
}
