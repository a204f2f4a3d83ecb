package console

import "fmt"

// chart is a picture of bars, with the same numbers as a table.
type chart struct {
	ID      string // of its elements on the page
	Title   string
	Summary string // what it shows, in a sentence or two
	Of      string // heading of the labels
	Unit    string // heading of the values
	Points  []point
	Empty   bool

	Bars   []bar
	Lines  []line // across, with what they stand for
	Labels []label
	suffix string
}

// none is the value of a point that has none.
const none = -1

// point is a value with its name; Short is what fits below a bar.
type point struct {
	Label, Short string
	Value        int
	Text         string // the value as it is written
}

// What a drawing consists of, in units of which a chart is 4000 wide and 1800
// high: whole numbers, which the page holds as they are.
type (
	bar  struct{ X, Y, Width, Height int }
	line struct {
		Y, Below int
		Text     string
	}
	label struct {
		X    int
		Text string
	}
)

// The place of the bars within a drawing.
const (
	left, right = 420, 3980
	top, bottom = 120, 1500
	fewPoints   = 8 // have a label each; of more, only so many have:
	mostLabels  = 6
)

// drawn returns the chart with its picture.
func (c chart) drawn() chart { return c.scaled(0) }

// percent draws shares of a hundred.
func (c *chart) percent() {
	c.suffix = "%"
	*c = c.scaled(100)
}

// scaled draws the bars up to a value, or to a round one above the highest.
func (c chart) scaled(highest int) chart {
	c.Bars, c.Lines, c.Labels, c.Empty = nil, nil, nil, true
	most := 0
	for i, p := range c.Points {
		most = max(most, p.Value)
		c.Points[i].Text = fmt.Sprintf("%d%s", p.Value, c.suffix)
		if p.Value == none {
			c.Points[i].Text = "–"
		}
		c.Empty = c.Empty && (p.Value == none || p.Value == 0 && c.suffix == "")
	}
	if highest == 0 {
		highest = roundAbove(most)
	}
	width := (right - left) / max(len(c.Points), 1)
	every := 1
	if len(c.Points) > fewPoints {
		every = (len(c.Points) + mostLabels - 1) / mostLabels
	}
	for i, p := range c.Points {
		x, height := left+i*width, max(p.Value, 0)*(bottom-top)/highest
		c.Bars = append(c.Bars, bar{X: x + width/8, Y: bottom - height, Width: width - width/4, Height: height})
		if i%every == 0 {
			c.Labels = append(c.Labels, label{x + width/2, p.Short})
		}
	}
	for _, value := range marks(highest) {
		y := bottom - value*(bottom-top)/highest
		c.Lines = append(c.Lines, line{Y: y, Below: y + 45, Text: fmt.Sprintf("%d%s", value, c.suffix)})
	}
	return c
}

// Point returns the i-th point, for what is written at its bar.
func (c chart) Point(i int) point { return c.Points[i] }

// roundAbove returns the least round number that is at least n.
func roundAbove(n int) int {
	for scale := 1; ; scale *= 10 {
		for _, round := range []int{1, 2, 4} {
			if round*scale >= n {
				return round * scale
			}
		}
	}
}

// marks are the values that have a line: none, half and all.
func marks(highest int) []int {
	if highest == 1 {
		return []int{0, 1}
	}
	return []int{0, highest / 2, highest}
}
