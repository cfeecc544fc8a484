package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MetricsFile documents the metrics.
const MetricsFile = "docs/metrics.md"

// Metric is one metric that is made somewhere.
type Metric struct {
	File   string
	Labels []string
}

// Metrics returns the metrics of the product by name. Where a name is put together of a variable
// and a text, the variable stands for each prefix that the file has as a text.
func Metrics(tree fs.FS) (map[string]Metric, []string, error) {
	metrics, found := map[string]Metric{}, []string{}
	err := goFiles(tree, parser.SkipObjectResolution, func(file string, _ *token.FileSet, f *ast.File) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "test/") {
			return
		}
		prefixes := prefixesOf(f)
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !makesMetric(call) {
				return true
			}
			names := namesOf(call, prefixes)
			labels, known := labelsOf(call)
			if len(names) == 0 || !known {
				found = append(found, file+": wanted a metric whose name and labels are written out, found another way to make one; write them as texts")
			}
			for _, name := range names {
				metrics[name] = Metric{File: file, Labels: labels}
			}
			return true
		})
	})
	return metrics, found, err
}

var metricPrefix = regexp.MustCompile(`^tidegate_([a-z]+_)+$`)

func prefixesOf(f *ast.File) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if text, ok := textOf(n); ok && metricPrefix.MatchString(text) {
			out = append(out, text)
		}
		return true
	})
	return out
}

func textOf(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

var makers = []string{
	"NewDesc", "NewCounter", "NewCounterVec", "NewCounterFunc", "NewGauge", "NewGaugeVec", "NewGaugeFunc",
	"NewHistogram", "NewHistogramVec", "NewSummary", "NewSummaryVec",
}

func makesMetric(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := s.X.(*ast.Ident)
	return ok && from.Name == "prometheus" && slices.Contains(makers, s.Sel.Name) && len(call.Args) > 0
}

// namesOf are the names of the metric that a call makes: its first argument, or the Name in it.
func namesOf(call *ast.CallExpr, prefixes []string) []string {
	name := call.Args[0]
	if opts, ok := name.(*ast.CompositeLit); ok {
		name = nil
		for _, e := range opts.Elts {
			field, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			if key, ok := field.Key.(*ast.Ident); ok && key.Name == "Name" {
				name = field.Value
			}
		}
	}
	if text, ok := textOf(name); ok {
		return []string{text}
	}
	sum, ok := name.(*ast.BinaryExpr)
	if !ok {
		return nil
	}
	end, ok := textOf(sum.Y)
	if _, begins := textOf(sum.X); !ok || begins {
		return nil
	}
	var out []string
	for _, prefix := range prefixes {
		out = append(out, prefix+end)
	}
	return out
}

// labelsOf are the labels of the metric, in a list of texts after the name; known is false where they are
// something else.
func labelsOf(call *ast.CallExpr) (labels []string, known bool) {
	vector := strings.HasSuffix(call.Fun.(*ast.SelectorExpr).Sel.Name, "Vec")
	for _, arg := range call.Args[1:] {
		list, ok := arg.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for _, e := range list.Elts {
			text, ok := textOf(e)
			if !ok {
				return nil, false
			}
			labels = append(labels, text)
		}
	}
	return labels, !vector || len(labels) > 0
}

// metricRow is a line of a table whose first column is one metric and whose second are its labels.
var metricRow = regexp.MustCompile("(?m)^\\| `(tidegate_[a-z_]+)` \\| ([^|]*) \\|")

// MetricsAreDocumented reports metrics without a line in doc, with other labels there, with two, and lines
// of metrics that nothing makes.
func MetricsAreDocumented(metrics map[string]Metric, doc string) []string {
	var found []string
	lines := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(doc, -1) {
		if _, twice := lines[m[1]]; twice {
			found = append(found, fmt.Sprintf("%s: %s stands there twice", MetricsFile, m[1]))
		}
		lines[m[1]] = strings.TrimSpace(m[2])
	}
	for _, name := range sortedKeys(metrics) {
		labels, ok := lines[name]
		want := strings.Join(metrics[name].Labels, ", ")
		switch {
		case !ok:
			found = append(found, fmt.Sprintf("%s is not in %s (it is made in %s): add the line \"| `%s` | %s | what it counts |\"", name, MetricsFile, metrics[name].File, name, want))
		case labels != want:
			found = append(found, fmt.Sprintf("%s: wanted %s with the labels %q, as %s makes it, found %q", MetricsFile, name, want, metrics[name].File, labels))
		}
	}
	for _, name := range sortedKeys(lines) {
		if _, ok := metrics[name]; !ok {
			found = append(found, fmt.Sprintf("%s documents %s, which nothing makes", MetricsFile, name))
		}
	}
	return found
}
