package ask

import (
	"fmt"
	"regexp"
	"strings"
)

// Words says what a schema wants, as in "an integer from 1 to 65535".
func Words(s map[string]any) string {
	if wanted, ok := s["x-wanted"].(string); ok {
		return wanted
	}
	if options := enum(s); len(options) > 0 {
		list := make([]string, len(options))
		for i, o := range options {
			list[i] = short(o)
		}
		return "one of " + strings.Join(list, ", ")
	}
	if c, ok := s["const"]; ok {
		return short(c)
	}
	if arms, ok := s["anyOf"].([]any); ok {
		list := make([]string, len(arms))
		for i, arm := range arms {
			list[i] = Words(asSchema(arm))
		}
		return strings.Join(list, " or ")
	}
	words := map[any]string{
		"string": "text", "integer": "an integer", "number": "a number", "boolean": "yes or no",
		"null": "null", "array": "a list", "object": "an object",
	}[s["type"]]
	if words == "" {
		words = "a value"
	}
	words += span(s, "minimum", "maximum", "") + span(s, "minLength", "maxLength", " characters")
	if s["exclusiveMinimum"] != nil {
		words += fmt.Sprintf(" above %v", s["exclusiveMinimum"])
	}
	if s["exclusiveMaximum"] != nil {
		words += fmt.Sprintf(" below %v", s["exclusiveMaximum"])
	}
	if p, ok := s["pattern"].(string); ok {
		words += " matching " + p
	}
	return words
}

// span says a range; unit is what is counted.
func span(s map[string]any, low, high, unit string) string {
	lo, hi := s[low], s[high]
	of := " "
	if unit != "" {
		of = " of "
	}
	switch {
	case lo != nil && hi != nil && unit != "":
		return fmt.Sprintf("%s%v to %v%s", of, lo, hi, unit)
	case lo != nil && hi != nil:
		return fmt.Sprintf(" from %v to %v", lo, hi)
	case lo != nil:
		return fmt.Sprintf("%sof at least %v%s", strings.TrimSuffix(of, "of "), lo, unit)
	case hi != nil:
		return fmt.Sprintf("%sof at most %v%s", strings.TrimSuffix(of, "of "), hi, unit)
	}
	return ""
}

// matches says whether a regular expression of a schema accepts name; one that Go does
// not read accepts all, since the gate judges in the end.
func matches(pattern, name string) bool {
	re, err := regexp.Compile(pattern)
	return err != nil || re.MatchString(name)
}
