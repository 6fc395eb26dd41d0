// SPDX-License-Identifier: Apache-2.0
// Object files: ELF64, relocation types as in Documentation/bpf/llvm_reloc.rst of the kernel.
#define _GNU_SOURCE
#include "bpf_load.h"
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef EM_BPF
#define EM_BPF 247
#endif
#define RELOCATE_LOAD 1		// R_BPF_64_64: a 64-bit load of an address
#define RELOCATE_CALL 10	// R_BPF_64_32: a call
#define PSEUDO_KFUNC_CALL 2
#define F_SLEEPABLE (1U << 4)	// BPF_F_SLEEPABLE
#define TYPE_SYSCALL 31		// BPF_PROG_TYPE_SYSCALL
#define ATTACH_ITER 28		// BPF_TRACE_ITER
#define LOG_SIZE (1 << 18)
#define ITERATOR_CHUNK (1 << 16)

static int fail(char *error, size_t size, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return code;
}

int bpf_call(enum bpf_cmd command, union bpf_attr *attr, size_t size)
{
	long ret = syscall(__NR_bpf, command, attr, size);

	return ret < 0 ? -errno : (int)ret;
}

// Before 5.11 maps count against the limit on locked memory.
static void lift_locked_limit(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

int bpf_shared_map(const char *name, size_t size, void **memory)
{
	union bpf_attr attr = {};
	int fd;

	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = (size + 7) & ~7ul;
	attr.max_entries = 1;
	attr.map_flags = 1U << 10;	// BPF_F_MMAPABLE
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	fd = bpf_call(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd == -EPERM) {
		lift_locked_limit();
		fd = bpf_call(BPF_MAP_CREATE, &attr, sizeof(attr));
	}
	if (fd < 0)
		return fd;
	*memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*memory == MAP_FAILED) {
		int ret = -errno;

		close(fd);
		*memory = NULL;
		return ret;
	}
	return fd;
}

// ---- the object file ----

struct elf {
	const uint8_t *data;
	size_t size;
	const Elf64_Shdr *sections;
	size_t nr_sections;
	const char *names;
	size_t names_size;
};

static const void *elf_bytes(const struct elf *elf, uint64_t offset, uint64_t size, size_t align)
{
	if (offset > elf->size || size > elf->size - offset || offset % align)
		return NULL;
	return elf->data + offset;
}

static const char *elf_strings(const struct elf *elf, size_t index, size_t *size)
{
	const Elf64_Shdr *section = &elf->sections[index];
	const char *strings;

	if (index >= elf->nr_sections || section->sh_type != SHT_STRTAB || !section->sh_size)
		return NULL;
	strings = elf_bytes(elf, section->sh_offset, section->sh_size, 1);
	if (!strings || strings[section->sh_size - 1])
		return NULL;
	*size = section->sh_size;
	return strings;
}

static bool elf_open(struct elf *elf, const uint8_t *data, size_t size)
{
	const Elf64_Ehdr *header = (const void *)data;

	*elf = (struct elf){.data = data, .size = size};
	if (size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
	    header->e_machine != EM_BPF || header->e_shentsize != sizeof(Elf64_Shdr))
		return false;
	elf->nr_sections = header->e_shnum;
	elf->sections = elf_bytes(elf, header->e_shoff, elf->nr_sections * sizeof(Elf64_Shdr), 8);
	if (!elf->sections)
		return false;
	elf->names = elf_strings(elf, header->e_shstrndx, &elf->names_size);
	return elf->names != NULL;
}

static const Elf64_Shdr *elf_section(const struct elf *elf, const char *name)
{
	for (size_t i = 0; i < elf->nr_sections; i++) {
		const Elf64_Shdr *section = &elf->sections[i];

		if (section->sh_name < elf->names_size && !strcmp(elf->names + section->sh_name, name))
			return section;
	}
	return NULL;
}

static const struct bpf_symbol *find_symbol(const struct bpf_object *object, const char *name)
{
	for (size_t i = 0; i < object->nr_symbols; i++)
		if (!strcmp(object->symbols[i].name, name))
			return &object->symbols[i];
	return NULL;
}

static bool patch(struct bpf_insn *insns, size_t nr, size_t at, uint32_t type,
		  const struct bpf_symbol *symbol)
{
	if (type == RELOCATE_LOAD && at + 1 < nr && symbol->kind != BPF_SYMBOL_KFUNC) {
		if (symbol->kind == BPF_SYMBOL_MAP)
			insns[at].src_reg = BPF_PSEUDO_MAP_FD;
		insns[at].imm = symbol->value;
		insns[at + 1].imm = 0;
		return true;
	}
	if (type == RELOCATE_CALL && at < nr && symbol->kind == BPF_SYMBOL_KFUNC) {
		insns[at].src_reg = PSEUDO_KFUNC_CALL;
		insns[at].imm = symbol->value;
		insns[at].off = 0;
		return true;
	}
	return false;
}

static int relocate(const struct bpf_object *object, const struct elf *elf, const Elf64_Shdr *relocs,
		    struct bpf_insn *insns, size_t nr_insns, char *error, size_t error_size)
{
	const Elf64_Shdr *symtab = &elf->sections[relocs->sh_link];
	const Elf64_Rel *rels = elf_bytes(elf, relocs->sh_offset, relocs->sh_size, 8);
	const Elf64_Sym *symbols;
	const char *names;
	size_t names_size;

	if (!rels || relocs->sh_link >= elf->nr_sections)
		return fail(error, error_size, -ENOEXEC, "damaged relocations");
	symbols = elf_bytes(elf, symtab->sh_offset, symtab->sh_size, 8);
	names = elf_strings(elf, symtab->sh_link, &names_size);
	if (!symbols || !names)
		return fail(error, error_size, -ENOEXEC, "damaged symbol table");
	for (size_t i = 0; i < relocs->sh_size / sizeof(*rels); i++) {
		size_t index = ELF64_R_SYM(rels[i].r_info);
		const struct bpf_symbol *symbol;
		const char *name;

		if (index >= symtab->sh_size / sizeof(*symbols) ||
		    symbols[index].st_name >= names_size || rels[i].r_offset % sizeof(*insns))
			return fail(error, error_size, -ENOEXEC, "damaged relocation");
		name = names + symbols[index].st_name;
		symbol = find_symbol(object, name);
		if (!symbol)
			return fail(error, error_size, -ENOEXEC, "unknown symbol %s", name);
		if (symbol->kind != BPF_SYMBOL_MAP && !symbol->value)
			return fail(error, error_size, -EOPNOTSUPP, "the kernel has no %s", name);
		if (!patch(insns, nr_insns, rels[i].r_offset / sizeof(*insns),
			   ELF64_R_TYPE(rels[i].r_info), symbol))
			return fail(error, error_size, -ENOEXEC, "bad relocation of %s", name);
	}
	return 0;
}

// ---- the kernel ----

static bool set_type(union bpf_attr *attr, const char *section, int attach_id)
{
	if (!strncmp(section, "raw_tp/", 7)) {
		attr->prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT;
	} else if (!strncmp(section, "syscall/", 8)) {
		attr->prog_type = TYPE_SYSCALL;
		attr->prog_flags = F_SLEEPABLE;
	} else if (!strncmp(section, "iter_task/", 10)) {
		attr->prog_type = BPF_PROG_TYPE_TRACING;
		attr->expected_attach_type = ATTACH_ITER;
		attr->attach_btf_id = attach_id;
	} else {
		return false;
	}
	strncpy(attr->prog_name, strchr(section, '/') + 1, sizeof(attr->prog_name) - 1);
	return true;
}

// The verifier's last words: the line before its statistics.
static void explain(char *error, size_t size, int code, char *log)
{
	char *line = log, *said = NULL, *rest = NULL;

	for (line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strstr(line, "processed ") == line)
			break;
		said = line;
	}
	if (said)
		fail(error, size, 0, "%s: %s", strerror(-code), said);
	else
		fail(error, size, 0, "%s", strerror(-code));
}

static int load(union bpf_attr *attr, char *error, size_t error_size)
{
	int fd = bpf_call(BPF_PROG_LOAD, attr, sizeof(*attr));
	char *log;

	if (fd >= 0)
		return fd;
	log = calloc(1, LOG_SIZE);
	if (log) {
		attr->log_buf = (uintptr_t)log;
		attr->log_size = LOG_SIZE;
		attr->log_level = 1;
		fd = bpf_call(BPF_PROG_LOAD, attr, sizeof(*attr));
		if (fd < 0)
			explain(error, error_size, fd, log);
		free(log);
	}
	return fd;
}

int bpf_load(const struct bpf_object *object, const char *section, int attach_id, char *error,
	     size_t error_size)
{
	const Elf64_Shdr *code, *license_section;
	union bpf_attr attr = {};
	const char *license;
	struct bpf_insn *insns;
	struct elf elf;
	size_t nr;
	int ret = 0;

	if (!elf_open(&elf, object->data, object->size))
		return fail(error, error_size, -ENOEXEC, "not a BPF object file");
	code = elf_section(&elf, section);
	license_section = elf_section(&elf, "license");
	if (!code || !license_section || !set_type(&attr, section, attach_id))
		return fail(error, error_size, -ENOENT, "no program %s in the object file", section);
	license = elf_bytes(&elf, license_section->sh_offset, license_section->sh_size, 1);
	if (!elf_bytes(&elf, code->sh_offset, code->sh_size, 8) || !license ||
	    !license_section->sh_size || license[license_section->sh_size - 1])
		return fail(error, error_size, -ENOEXEC, "damaged object file");
	nr = code->sh_size / sizeof(*insns);
	insns = malloc(nr * sizeof(*insns) + 1);
	if (!insns)
		return -ENOMEM;
	memcpy(insns, elf.data + code->sh_offset, nr * sizeof(*insns));
	for (size_t i = 0; i < elf.nr_sections && !ret; i++)
		if (elf.sections[i].sh_type == SHT_REL &&
		    elf.sections[i].sh_info == (size_t)(code - elf.sections))
			ret = relocate(object, &elf, &elf.sections[i], insns, nr, error, error_size);
	if (!ret) {
		attr.insns = (uintptr_t)insns;
		attr.insn_cnt = nr;
		attr.license = (uintptr_t)license;
		ret = load(&attr, error, error_size);
	}
	free(insns);
	return ret;
}

int bpf_run(int program)
{
	union bpf_attr attr = {};
	int ret;

	attr.test.prog_fd = program;
	do {
		ret = bpf_call(BPF_PROG_TEST_RUN, &attr, sizeof(attr.test));
	} while (ret == -EINTR);
	return ret;
}

long bpf_read_iterator(int program, void **data)
{
	union bpf_attr attr = {};
	size_t room = 0, used = 0;
	char *buffer = NULL, *bigger;
	long got = 0;
	int link, iterator;

	attr.link_create.prog_fd = program;
	attr.link_create.attach_type = ATTACH_ITER;
	link = bpf_call(BPF_LINK_CREATE, &attr, sizeof(attr));
	if (link < 0)
		return link;
	attr = (union bpf_attr){};
	attr.iter_create.link_fd = link;
	iterator = bpf_call(BPF_ITER_CREATE, &attr, sizeof(attr));
	close(link);
	if (iterator < 0)
		return iterator;
	do {
		if (room - used < ITERATOR_CHUNK) {
			room = 2 * room + ITERATOR_CHUNK;
			bigger = realloc(buffer, room);
			if (!bigger) {
				got = -ENOMEM;
				break;
			}
			buffer = bigger;
		}
		got = read(iterator, buffer + used, room - used);
		if (got < 0)
			got = errno == EINTR || errno == EAGAIN ? 1 : -errno;
		else
			used += got;
	} while (got > 0);
	close(iterator);
	if (got < 0) {
		free(buffer);
		return got;
	}
	*data = buffer;
	return used;
}
