package render

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Codes of the errors of this package.
const (
	// ReasonValuesInvalid is the code of a ValuesError.
	ReasonValuesInvalid = "TG-VALUES-INVALID"
	// ReasonTemplateBroken is the code of a SourceError.
	ReasonTemplateBroken = "TG-TEMPLATE-BROKEN"
)

const (
	// maxProblems is how many mistakes one error lists.
	maxProblems = 100
	// maxProblemBytes is how long they are together, some lines more or less.
	maxProblemBytes = 64 << 10
)

// Error has one line for each problem.
func (e *ValuesError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Reason returns the stable code of the error.
func (e *ValuesError) Reason() string { return ReasonValuesInvalid }

// String is the problem in one line.
func (p Problem) String() string {
	line := p.Path + ": " + p.Message
	if p.Hint != "" {
		line += "; " + p.Hint
	}
	if p.At != "" {
		line += " (" + p.At + ")"
	}
	return line
}

// MaxNesting is how many levels of values there may be, the values themselves the first.
const MaxNesting = values.MaxDepth

// ValuesPath is the path of the values as a whole.
const ValuesPath = values.Root

// Step is one step of a path: into an entry of an object by its name, or of a list.
type Step = values.Step

// PathOf is the path of the steps.
func PathOf(steps []Step) string { return values.Path(steps) }

// EntryPath is the path of the entry called name of the object at path.
func EntryPath(path, name string) string { return values.Child(path, name) }

// ItemPath is the path of item i of the list at path.
func ItemPath(path string, i int) string { return values.Index(path, i) }

// Error has one line for each mistake.
func (e *SourceError) Error() string { return strings.Join(e.Lines, "\n") }

// Reason returns the stable code of the error.
func (e *SourceError) Reason() string { return ReasonTemplateBroken }

func valuesError(problems []Problem) error {
	slices.SortStableFunc(problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	problems = slices.Compact(problems)
	if listed := listable(problems); listed < len(problems) {
		more := len(problems) - listed
		problems = append(problems[:listed:listed], Problem{
			Path:    values.Root,
			Message: fmt.Sprintf("wanted no mistakes, found %d more than are listed", more),
		})
	}
	return &ValuesError{Problems: problems}
}

// listable is how many of the problems one error has room for.
func listable(problems []Problem) int {
	size := 0
	for i, p := range problems {
		if size += len(p.Path) + len(p.Message) + len(p.Hint); i > 0 && (i >= maxProblems || size > maxProblemBytes) {
			return i
		}
	}
	return len(problems)
}

func sourceError(lines ...string) error {
	if len(lines) > maxProblems {
		lines = append(lines[:maxProblems:maxProblems], fmt.Sprintf("and %d more", len(lines)-maxProblems))
	}
	return &SourceError{Lines: lines}
}

// cueError makes a SourceError of an error of the CUE engine.
func cueError(err error) error { return sourceError(cueLines(err)...) }

// cueLines has a line for each mistake that an error of the CUE engine reports.
func cueLines(err error) []string { return places(nil).lines(err) }

func place(p token.Pos) string {
	if !p.IsValid() || p.Filename() == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", p.Filename(), p.Line(), p.Column())
}

// at is the line of a mistake at v.
func at(v cue.Value, format string, args ...any) string {
	message := fmt.Sprintf(format, args...)
	if p := place(v.Pos()); p != "" {
		return p + ": " + message
	}
	return message
}

// recovered turns a panic of the CUE engine into an error: what one template does must
// not end the process that serves all.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = sourceError(fmt.Sprintf("the CUE engine failed: %v", p))
	}
}
