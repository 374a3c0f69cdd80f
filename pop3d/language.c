#include "pop3d/language.h"

#include <inttypes.h>
#include <string.h>

static const struct {
	const char *tag, *name;
} languages[LANGUAGES] = {
	[LANGUAGE_DEFAULT] = { "i-default", "English" },
	[LANGUAGE_ENGLISH] = { "en", "English" },
	[LANGUAGE_GERMAN] = { "de", "Deutsch" },
};

static const struct {
	const char *english, *german;
} texts[] = {
	{ "%s POP3 server ready", "%s, POP3-Server, ist bereit" },
	{ "now the password, with PASS", "nun das Passwort, mit PASS" },
	{ "USER comes first", "zuerst kommt USER" },
	{ "a user name has at most %d octets", "ein Benutzername hat höchstens %d Oktette" },
	{ "a password has at most %d octets", "ein Passwort hat höchstens %d Oktette" },
	{ "there is no certificate, so no TLS", "es gibt kein Zertifikat, also kein TLS" },
	{ "TLS is on already", "TLS ist schon an" },
	{ "begin TLS", "TLS beginnen" },
	{ "wrong user or password", "Benutzer oder Passwort falsch" },
	{ "another session has this maildrop open",
		"eine andere Sitzung hat dieses Postfach offen" },
	{ "the message is gone: something else has deleted it",
		"die Nachricht ist weg: etwas anderes hat sie gelöscht" },
	{ "the message is not whole any more: something else has cut it short",
		"die Nachricht ist nicht mehr ganz: etwas anderes hat sie gekürzt" },
	{ "the store cannot do that now; try again later",
		"der Speicher kann das jetzt nicht; später noch einmal versuchen" },
	{ "the store is busy; try again in a moment",
		"der Speicher ist beschäftigt; gleich noch einmal versuchen" },
	{ "the store starts again; try again in a moment",
		"der Speicher startet neu; gleich noch einmal versuchen" },
	{ "your last login was a moment ago; come later",
		"die letzte Anmeldung ist gerade erst gewesen; später wiederkommen" },
	{ "not all was deleted: the store could not do it now",
		"nicht alles wurde gelöscht: der Speicher konnte es jetzt nicht" },
	{ "%" PRIu32 " messages, %" PRIu64 " octets",
		"%" PRIu32 " Nachrichten, %" PRIu64 " Oktette" },
	{ "%" PRIu64 " octets", "%" PRIu64 " Oktette" },
	{ "no such message; there are %" PRIu32, "keine solche Nachricht; es gibt %" PRIu32 },
	{ "message %.*s is marked as deleted; RSET would bring it back",
		"Nachricht %.*s ist zum Löschen vorgemerkt; RSET würde sie zurückholen" },
	{ "message %" PRIu64 " goes at QUIT", "Nachricht %" PRIu64 " geht bei QUIT" },
	{ "that many deletions need more than one session; QUIT first",
		"so viele Löschungen brauchen mehr als eine Sitzung; zuerst QUIT" },
	{ "TOP takes a message number and a number of lines",
		"TOP nimmt eine Nachrichtennummer und eine Zeilenzahl" },
	{ "unique-ids follow", "eindeutige Kennungen folgen" },
	{ "still here", "noch da" },
	{ "good-bye", "auf Wiedersehen" },
	{ "good-bye; %" PRIu32 " messages deleted",
		"auf Wiedersehen; %" PRIu32 " Nachrichten gelöscht" },
	{ "capabilities", "Fähigkeiten" },
	{ "what may be said now", "was jetzt gesagt werden kann" },
	{ "mechanisms follow", "Mechanismen folgen" },
	{ "languages follow", "Sprachen folgen" },
	{ "there is no such language; LANG lists them",
		"diese Sprache gibt es nicht; LANG zählt sie auf" },
	{ "it goes: %s", "es heißt: %s" },
	{ "unknown command; HELP lists them", "unbekannter Befehl; HELP zählt sie auf" },
	{ "log in first, with AUTH or USER and PASS",
		"zuerst anmelden, mit AUTH oder USER und PASS" },
	{ "you are logged in already", "schon angemeldet" },
	{ "no password in the clear: STLS first, or connect to the TLS port",
		"kein Passwort im Klartext: zuerst STLS, oder über den TLS-Port verbinden" },
	{ "no such mechanism, or not without TLS; CAPA lists them",
		"kein solcher Mechanismus, oder nicht ohne TLS; CAPA zählt sie auf" },
	{ "the initial response is not base64", "die erste Antwort ist kein Base64" },
	{ "as you like; nobody is logged in", "wie gewünscht; niemand ist angemeldet" },
	{ "that is not base64, or too long; AUTH has ended",
		"das ist kein Base64 oder zu lang; AUTH ist beendet" },
	{ "UTF-8 it is", "also UTF-8" },
};

const char *language_tag(enum language language)
{
	return languages[language].tag;
}

const char *language_name(enum language language)
{
	return languages[language].name;
}

int language_find(struct text range, enum language *language)
{
	if (text_equal(range, TEXT("*"))) {
		*language = LANGUAGE_DEFAULT;
		return 0;
	}
	for (;;) {
		for (int i = 0; i < LANGUAGES; i++) {
			if (text_equal_nocase(range, text_of(languages[i].tag))) {
				*language = (enum language)i;
				return 0;
			}
		}
		const ptrdiff_t hyphen = text_find_last(range, '-');
		if (hyphen < 0)
			return -1;
		range = text_head(range, (size_t)hyphen);
	}
}

const char *language_text(enum language language, const char *english)
{
	if (language != LANGUAGE_GERMAN)
		return english;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(texts[i].english, english) == 0)
			return texts[i].german;
	return english;
}

const char *language_key(size_t i)
{
	return i < sizeof(texts) / sizeof(texts[0]) ? texts[i].english : NULL;
}
