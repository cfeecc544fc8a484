package tree

// Item is one entry of a tree about something else than a Release.
type Item struct {
	// Text is the entry; one without a text is left out.
	Text string
	// Prose is wrapped to the width of the terminal.
	Prose bool
	Items []Item
}

// Add appends entries.
func (i *Item) Add(items ...Item) { i.Items = append(i.Items, items...) }

// Sentence is an entry of prose.
func Sentence(text string) Item { return Item{Text: text, Prose: true} }

// Outline returns the lines of a tree.
func Outline(root Item, o Options) []string { return root.node().draw(nil, "", "", o) }

func (i Item) node() node {
	n := node{text: i.Text, prose: i.Prose}
	for _, child := range i.Items {
		n.add(child.node())
	}
	return n
}
