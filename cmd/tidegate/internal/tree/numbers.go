package tree

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// number shows a decimal string of a query's unit in the unit that the metric names:
// ratios as percent, seconds as milliseconds. Three significant digits are shown. What
// is not a finite number is shown as it is.
func number(value, unit string) string {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return value
	}
	switch unit {
	case "%":
		x *= 100
	case "ms":
		x *= 1000
	}
	digits := 2
	if x != 0 {
		digits = 2 - int(math.Floor(math.Log10(math.Abs(x))))
	}
	text := strconv.FormatFloat(x, 'f', min(max(digits, 0), 6), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		text = "0"
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// count shows a number of observations; extrapolated ones are fractional.
func count(value string) string {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return value
	}
	return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
}

// span shows a length of time in whole seconds.
func span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return d.String()
	case d < time.Hour:
		return strings.Replace(d.String(), "m0s", "m", 1)
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h" + strconv.Itoa(int(d.Minutes())%60) + "m"
	default:
		return strconv.Itoa(int(d.Hours())/24) + "d"
	}
}
