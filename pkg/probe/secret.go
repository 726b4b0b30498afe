package probe

import (
	"fmt"
	"os"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// password is read at each check, so that a new one in the file counts at once.
func password(l model.Login) (string, error) {
	if l.PasswordFile == "" {
		return l.Password, nil
	}
	text, err := os.ReadFile(l.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errLocal, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
