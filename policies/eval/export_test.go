package eval

// SandboxFunctions lists what policies may call.
func SandboxFunctions() []string {
	var out []string
	for _, b := range sandbox().Builtins {
		out = append(out, b.Name)
	}
	return out
}
