package shop

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readJournal opens the journal at path and gives its lines too.
func readJournal(t *testing.T, path string) (*journal, []string) {
	t.Helper()
	var lines []string
	j, err := openJournal(path, func(line []byte) error {
		lines = append(lines, string(line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return j, lines
}

func appendLine(t *testing.T, j *journal, line string) {
	t.Helper()
	if err := j.append([]byte(line)); err != nil {
		t.Fatal(err)
	}
}

func expectLines(t *testing.T, path string, want ...string) {
	t.Helper()
	if _, got := readJournal(t, path); !slices.Equal(got, want) {
		t.Fatalf("the journal holds %q, want %q", got, want)
	}
}

func TestAJournalKeepsItsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := readJournal(t, path)
	appendLine(t, j, "one\n")
	appendLine(t, j, "two\n")
	expectLines(t, path, "one\n", "two\n")
}

func TestALineTornByACrashIsDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, []byte("one\ntwo is cut o"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, lines := readJournal(t, path)
	if !slices.Equal(lines, []string{"one\n"}) {
		t.Fatalf("replayed %q", lines)
	}
	appendLine(t, j, "3\n") // shorter than what the crash left
	expectLines(t, path, "one\n", "3\n")
}

func TestADamagedLineIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, []byte("good\nbad\ngood\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openJournal(path, func(line []byte) error {
		if string(line) == "bad\n" {
			return errors.New("not a line")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), path+", line 2: not a line") {
		t.Fatalf("got error %v", err)
	}
}

func TestAFailedAppendLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := readJournal(t, path)
	appendLine(t, j, "one\n")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := j.append([]byte("lost\n")); err == nil {
		t.Fatal("an append without a file was acknowledged")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	appendLine(t, j, "two\n")
	expectLines(t, path, "one\n", "two\n")
}

func TestAnotherProcessesLinesAreNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	ours, _ := readJournal(t, path)
	theirs, _ := readJournal(t, path)
	appendLine(t, theirs, "theirs\n")
	if err := ours.append([]byte("ours\n")); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got error %v", err)
	}
	// Asking again must not succeed either: the first refusal tore nothing.
	if err := ours.append([]byte("ours\n")); err == nil {
		t.Fatal("the second try overwrote another process's line")
	}
	expectLines(t, path, "theirs\n")
}
