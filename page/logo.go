package page

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLogo is the largest logo, in bytes: it travels with every page.
const maxLogo = 16 << 10

// readLogo makes a picture part of the page, so that drawing it needs no
// further request. As an image, an SVG runs no script and loads nothing.
func readLogo(path string) (template.URL, error) {
	if path == "" {
		return "", nil
	}
	picture, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(picture) > maxLogo {
		return "", fmt.Errorf("%d bytes; %d at most, since it travels with every page", len(picture), maxLogo)
	}
	kind, err := pictureType(path, picture)
	if err != nil {
		return "", err
	}
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(picture)), nil //nolint:gosec // an image by its type, and base64
}

func pictureType(path string, picture []byte) (string, error) {
	if strings.EqualFold(filepath.Ext(path), ".svg") && bytes.Contains(picture, []byte("<svg")) {
		return "image/svg+xml", nil
	}
	kind := http.DetectContentType(picture)
	if !slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp"}, kind) {
		return "", errors.New("is no SVG, PNG, JPEG, GIF or WebP picture")
	}
	return kind, nil
}
