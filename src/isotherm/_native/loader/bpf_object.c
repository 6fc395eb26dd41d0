// SPDX-License-Identifier: Apache-2.0
// ELF64; relocation types as in Documentation/bpf/llvm_reloc.rst of the kernel.
#include "loader/bpf_object.h"
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EM_BPF
#define EM_BPF 247
#endif
#define RELOCATE_LOAD 1		// R_BPF_64_64: a 64-bit load of an address
#define RELOCATE_CALL 10	// R_BPF_64_32: a call
#define PSEUDO_KFUNC_CALL 2

static int fail(char *error, size_t size, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return code;
}

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
	const Elf64_Shdr *section;
	const char *strings;

	if (index >= elf->nr_sections)
		return NULL;
	section = &elf->sections[index];
	if (section->sh_type != SHT_STRTAB || !section->sh_size)
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
	const Elf64_Rel *rels = elf_bytes(elf, relocs->sh_offset, relocs->sh_size, 8);
	const Elf64_Shdr *symtab;
	const Elf64_Sym *symbols;
	const char *names;
	size_t names_size;

	if (!rels || relocs->sh_link >= elf->nr_sections)
		return fail(error, error_size, -ENOEXEC, "damaged relocations");
	symtab = &elf->sections[relocs->sh_link];
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

int bpf_program_init(struct bpf_program *program, const struct bpf_object *object,
		     const char *section, char *error, size_t error_size)
{
	const Elf64_Shdr *code, *license_section;
	const char *license;
	struct elf elf;
	int ret = 0;

	*program = (struct bpf_program){};
	if (!elf_open(&elf, object->data, object->size))
		return fail(error, error_size, -ENOEXEC, "not a BPF object file");
	code = elf_section(&elf, section);
	license_section = elf_section(&elf, "license");
	if (!code || !license_section)
		return fail(error, error_size, -ENOENT, "no program %s in the object file", section);
	license = elf_bytes(&elf, license_section->sh_offset, license_section->sh_size, 1);
	if (!elf_bytes(&elf, code->sh_offset, code->sh_size, 8) || !license ||
	    !license_section->sh_size || license[license_section->sh_size - 1])
		return fail(error, error_size, -ENOEXEC, "damaged object file");
	program->license = license;
	program->nr = code->sh_size / sizeof(*program->insns);
	program->insns = malloc(program->nr * sizeof(*program->insns) + 1);
	if (!program->insns)
		return -ENOMEM;
	memcpy(program->insns, elf.data + code->sh_offset, program->nr * sizeof(*program->insns));
	for (size_t i = 0; i < elf.nr_sections && !ret; i++)
		if (elf.sections[i].sh_type == SHT_REL &&
		    elf.sections[i].sh_info == (size_t)(code - elf.sections))
			ret = relocate(object, &elf, &elf.sections[i], program->insns, program->nr,
				       error, error_size);
	if (ret)
		bpf_program_deinit(program);
	return ret;
}

void bpf_program_deinit(struct bpf_program *program)
{
	free(program->insns);
	*program = (struct bpf_program){};
}
