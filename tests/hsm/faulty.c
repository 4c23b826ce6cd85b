/* A PKCS#11 module that is another one (FAULTY_MODULE) with faults, for tests.

   FAULTY_FILE may hold lines "CALL WHAT": the call then answers with the number WHAT (hexadecimal), in place of being
   done; `hang` sleeps, `crash` ends the process. FAULTY_LOG gets a line for each of these calls, with what it answered, and what was signed.
   No header of PKCS#11 is needed: a function list is its version and 68 pointers in the order of the standard. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long num;
typedef num (*call)();
struct list { unsigned char version[2]; call at[68]; };
enum { INITIALIZE = 0, LIST = 3, INFO = 6, OPEN = 12, LOGIN = 18, SIGN_INIT = 42, SIGN = 43, PAIR = 59 };

static struct list mine, *real;

static int fault(const char *name, num *answer) {
    const char *path = getenv("FAULTY_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char word[32], what[32];
    int found = 0;
    if (!file) return 0;
    while (!found && fscanf(file, "%31s %31s", word, what) == 2) found = !strcmp(word, name);
    fclose(file);
    if (found && !strcmp(what, "hang")) sleep(600);
    if (found && !strcmp(what, "crash")) _exit(99);
    if (found) *answer = strtoul(what, NULL, 16);
    return found;
}

static num told_of(const char *name, num answer, const unsigned char *data, num size) {
    const char *path = getenv("FAULTY_LOG");
    char line[256];
    int length = snprintf(line, sizeof line, "%s %lx ", name, answer);
    for (num n = 0; n < size && n < 100; n++) length += sprintf(line + length, "%02x", data[n]);
    line[length++] = '\n';
    int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (log >= 0) {
        if (write(log, line, length) < 0) _exit(98);
        close(log);
    }
    return answer;
}

static num told(const char *name, num answer) { return told_of(name, answer, NULL, 0); }

/* The fault `flags` is put among those of the token (at octet 96 of CK_TOKEN_INFO). */
static num info(num a, unsigned char *b) {
    num more, answer = real->at[INFO](a, b);
    if (!answer && fault("flags", &more)) *(num *)(b + 96) |= more;
    return answer;
}

static num open_session(num a, num b, void *c, void *d, void *e) {
    num answer;
    return told("open", fault("open", &answer) ? answer : real->at[OPEN](a, b, c, d, e));
}

static num login(num a, num b, void *c, num d) {
    num answer;
    return told("login", fault("login", &answer) ? answer : real->at[LOGIN](a, b, c, d));
}

static num sign_init(num a, void *b, num c) {
    num answer;
    return fault("sign_init", &answer) ? told("sign_init", answer) : real->at[SIGN_INIT](a, b, c);
}

static num sign(num a, void *b, num c, void *d, void *e) {
    num answer;
    if (!d) return real->at[SIGN](a, b, c, d, e); /* only asks how long it will be */
    answer = fault("sign", &answer) ? answer : real->at[SIGN](a, b, c, d, e);
    return told_of("sign", answer, b, c);
}

static num pair(num a, void *b, void *c, num d, void *e, num f, void *g, void *h) {
    num answer;
    return told("pair", fault("pair", &answer) ? answer : real->at[PAIR](a, b, c, d, e, f, g, h));
}

num C_GetFunctionList(struct list **out) {
    void *library = dlopen(getenv("FAULTY_MODULE"), RTLD_NOW);
    num (*get)(struct list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real)) return 5;
    mine = *real;
    mine.at[LIST] = (call)C_GetFunctionList;
    mine.at[INFO] = (call)info;
    mine.at[OPEN] = (call)open_session;
    mine.at[LOGIN] = (call)login;
    mine.at[SIGN_INIT] = (call)sign_init;
    mine.at[SIGN] = (call)sign;
    mine.at[PAIR] = (call)pair;
    *out = &mine;
    return 0;
}
