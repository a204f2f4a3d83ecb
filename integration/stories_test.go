package integration

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const stories = 42 // failures that happened to others, by number

// docs/reliability.md names the tests of every story, and they exist and carry
// its number; or it says why the story cannot happen yet.
func TestEveryFailureOfOthersHasATestThatCarriesItsNumber(t *testing.T) {
	page, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	carriers := storyCarriers(t)
	told := make(map[int]string)
	for _, row := range storyRow.FindAllStringSubmatch(string(page), -1) {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		if told[n] != "" {
			t.Errorf("story %d is told twice", n)
		}
		told[n] = row[0]
	}
	for n := 1; n <= stories; n++ {
		row := told[n]
		tests := testName.FindAllString(row, -1)
		switch {
		case row == "":
			t.Errorf("story %d is not told", n)
		case len(tests) == 0 && !strings.Contains(row, "Cannot happen yet: "):
			t.Errorf("story %d has no test and no reason", n)
		}
		for _, test := range tests {
			if !carriers[test][n] {
				t.Errorf("story %d: no %s carries its number", n, test)
			}
		}
	}
	if len(told) != stories {
		t.Errorf("%d stories are told, of %d", len(told), stories)
	}
}

var (
	storyRow    = regexp.MustCompile(`(?m)^\| (\d+) \|.*$`)
	testName    = regexp.MustCompile(`\bTest\w+`)
	testBegins  = regexp.MustCompile(`^func (Test\w+)\(`)
	storyNumber = regexp.MustCompile(`\bstory (\d+)\b`)
)

// storyCarriers returns, by test, the numbers in the comments above it and
// inside.
func storyCarriers(t *testing.T) map[string]map[int]bool {
	t.Helper()
	carriers := make(map[string]map[int]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		return readStories(path, carriers)
	})
	if err != nil {
		t.Fatal(err)
	}
	return carriers
}

func readStories(path string, carriers map[string]map[int]bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	test := ""      // whose body this line is in
	var above []int // of the comment that ends here
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		_, comment, commented := strings.Cut(line, "//")
		begins := testBegins.FindStringSubmatch(line)
		if begins != nil {
			test = begins[1]
			if carriers[test] == nil {
				carriers[test] = make(map[int]bool)
			}
		}
		if commented {
			for _, number := range storyNumber.FindAllStringSubmatch(comment, -1) {
				n, err := strconv.Atoi(number[1])
				if err != nil {
					return err
				}
				above = append(above, n)
			}
		}
		if test != "" {
			for _, n := range above {
				carriers[test][n] = true
			}
		}
		if test != "" || !strings.HasPrefix(line, "//") {
			above = nil
		}
		if line == "}" {
			test = ""
		}
	}
	return lines.Err()
}
