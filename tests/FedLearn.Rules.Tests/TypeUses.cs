using System.Collections.Immutable;
using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace FedLearn.Rules.Tests;

/// <summary>Which types an assembly's code uses: in base types, members, attributes, generic constraints and method bodies.</summary>
internal static class TypeUses
{
    private static readonly Dictionary<int, OpCode> Codes = typeof(OpCodes).GetFields()
        .Where(field => field.FieldType == typeof(OpCode)).Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => code.Value & 0xFFFF);

    /// <summary>Every use, once.</summary>
    /// <param name="path">The assembly.</param>
    /// <returns>Full names of the using and of the used type; a nested type counts as its outermost one.</returns>
    public static IReadOnlySet<(string User, string Used)> Of(string path)
    {
        using var file = new PEReader(File.OpenRead(path));
        MetadataReader metadata = file.GetMetadataReader();
        var names = new Names(metadata);
        var uses = new HashSet<(string, string)>();
        foreach (TypeDefinitionHandle handle in metadata.TypeDefinitions)
        {
            TypeDefinition type = metadata.GetTypeDefinition(handle);
            string user = names.GetTypeFromDefinition(metadata, handle, 0)[0];
            foreach (string used in UsedBy(file, metadata, names, type).SelectMany(used => used))
                uses.Add((user, used));
        }

        return uses;
    }

    private static IEnumerable<ImmutableArray<string>> UsedBy(PEReader file, MetadataReader metadata, Names names, TypeDefinition type)
    {
        yield return names.Of(type.BaseType);
        foreach (InterfaceImplementationHandle implemented in type.GetInterfaceImplementations())
            yield return names.Of(metadata.GetInterfaceImplementation(implemented).Interface);
        foreach (ImmutableArray<string> used in Attributes(metadata, names, type.GetCustomAttributes()).Concat(Constraints(metadata, names, type.GetGenericParameters())))
            yield return used;
        foreach (FieldDefinition field in type.GetFields().Select(metadata.GetFieldDefinition))
        {
            yield return field.DecodeSignature(names, null);
            foreach (ImmutableArray<string> used in Attributes(metadata, names, field.GetCustomAttributes()))
                yield return used;
        }

        foreach (PropertyDefinition property in type.GetProperties().Select(metadata.GetPropertyDefinition))
            foreach (ImmutableArray<string> used in Attributes(metadata, names, property.GetCustomAttributes()))
                yield return used;
        foreach (MethodDefinition method in type.GetMethods().Select(metadata.GetMethodDefinition))
        {
            yield return Names.Of(method.DecodeSignature(names, null));
            foreach (ImmutableArray<string> used in Attributes(metadata, names, method.GetCustomAttributes()).Concat(Constraints(metadata, names, method.GetGenericParameters())))
                yield return used;
            if (method.RelativeVirtualAddress == 0)
                continue;
            MethodBodyBlock body = file.GetMethodBody(method.RelativeVirtualAddress);
            if (!body.LocalSignature.IsNil)
                foreach (ImmutableArray<string> local in metadata.GetStandaloneSignature(body.LocalSignature).DecodeLocalSignature(names, null))
                    yield return local;
            foreach (ExceptionRegion region in body.ExceptionRegions)
                yield return names.Of(region.CatchType);
            foreach (EntityHandle operand in Operands(body.GetILReader()))
                yield return names.Of(operand);
        }
    }

    private static IEnumerable<ImmutableArray<string>> Attributes(MetadataReader metadata, Names names, CustomAttributeHandleCollection attributes) =>
        attributes.Select(attribute => names.Of(metadata.GetCustomAttribute(attribute).Constructor));

    private static IEnumerable<ImmutableArray<string>> Constraints(MetadataReader metadata, Names names, GenericParameterHandleCollection parameters) =>
        parameters.SelectMany(parameter => metadata.GetGenericParameter(parameter).GetConstraints()).Select(constraint => names.Of(metadata.GetGenericParameterConstraint(constraint).Type));

    // The metadata tokens among the operands of a method body (ECMA-335, partition III).
    private static List<EntityHandle> Operands(BlobReader il)
    {
        var operands = new List<EntityHandle>();
        while (il.RemainingBytes > 0)
        {
            int value = il.ReadByte();
            OpCode code = Codes[value == 0xFE ? 0xFE00 | il.ReadByte() : value];
            switch (code.OperandType)
            {
                case OperandType.InlineField or OperandType.InlineMethod or OperandType.InlineTok or OperandType.InlineType or OperandType.InlineSig:
                    operands.Add(MetadataTokens.EntityHandle(il.ReadInt32()));
                    break;
                case OperandType.InlineSwitch:
                    int targets = il.ReadInt32();
                    il.Offset += targets * sizeof(int);
                    break;
                case OperandType.InlineI8 or OperandType.InlineR:
                    il.Offset += 8;
                    break;
                case OperandType.InlineBrTarget or OperandType.InlineI or OperandType.InlineString or OperandType.ShortInlineR:
                    il.Offset += 4;
                    break;
                case OperandType.InlineVar:
                    il.Offset += 2;
                    break;
                case OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar:
                    il.Offset += 1;
                    break;
                default:
                    break;
            }
        }

        return operands;
    }

    /// <summary>Signatures as the full names of all types in them.</summary>
    private sealed class Names(MetadataReader metadata) : ISignatureTypeProvider<ImmutableArray<string>, object?>
    {
        public ImmutableArray<string> Of(EntityHandle handle) => handle.IsNil ? [] : handle.Kind switch
        {
            HandleKind.TypeDefinition => GetTypeFromDefinition(metadata, (TypeDefinitionHandle)handle, 0),
            HandleKind.TypeReference => GetTypeFromReference(metadata, (TypeReferenceHandle)handle, 0),
            HandleKind.TypeSpecification => metadata.GetTypeSpecification((TypeSpecificationHandle)handle).DecodeSignature(this, null),
            HandleKind.FieldDefinition => Of(metadata.GetFieldDefinition((FieldDefinitionHandle)handle)),
            HandleKind.MethodDefinition => Of(metadata.GetMethodDefinition((MethodDefinitionHandle)handle)),
            HandleKind.MemberReference => Of(metadata.GetMemberReference((MemberReferenceHandle)handle)),
            HandleKind.MethodSpecification => Of(metadata.GetMethodSpecification((MethodSpecificationHandle)handle)),
            HandleKind.StandaloneSignature => Of(metadata.GetStandaloneSignature((StandaloneSignatureHandle)handle).DecodeMethodSignature(this, null)),
            _ => throw new InvalidOperationException($"A token of kind {handle.Kind} where a type or member was expected."),
        };

        public static ImmutableArray<string> Of(MethodSignature<ImmutableArray<string>> signature) => [.. signature.ReturnType, .. signature.ParameterTypes.SelectMany(type => type)];

        public ImmutableArray<string> GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind)
        {
            TypeDefinition type = reader.GetTypeDefinition(handle);
            while (!type.GetDeclaringType().IsNil)
                type = reader.GetTypeDefinition(type.GetDeclaringType());
            return [Full(reader, type.Namespace, type.Name)];
        }

        public ImmutableArray<string> GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind)
        {
            TypeReference type = reader.GetTypeReference(handle);
            while (type.ResolutionScope.Kind == HandleKind.TypeReference)
                type = reader.GetTypeReference((TypeReferenceHandle)type.ResolutionScope);
            return [Full(reader, type.Namespace, type.Name)];
        }

        public ImmutableArray<string> GetTypeFromSpecification(MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind) =>
            reader.GetTypeSpecification(handle).DecodeSignature(this, genericContext);

        public ImmutableArray<string> GetGenericInstantiation(ImmutableArray<string> genericType, ImmutableArray<ImmutableArray<string>> typeArguments) =>
            [.. genericType, .. typeArguments.SelectMany(type => type)];

        public ImmutableArray<string> GetModifiedType(ImmutableArray<string> modifier, ImmutableArray<string> unmodifiedType, bool isRequired) => [.. modifier, .. unmodifiedType];

        public ImmutableArray<string> GetFunctionPointerType(MethodSignature<ImmutableArray<string>> signature) => Of(signature);

        public ImmutableArray<string> GetArrayType(ImmutableArray<string> elementType, ArrayShape shape) => elementType;

        public ImmutableArray<string> GetByReferenceType(ImmutableArray<string> elementType) => elementType;

        public ImmutableArray<string> GetPinnedType(ImmutableArray<string> elementType) => elementType;

        public ImmutableArray<string> GetPointerType(ImmutableArray<string> elementType) => elementType;

        public ImmutableArray<string> GetSZArrayType(ImmutableArray<string> elementType) => elementType;

        public ImmutableArray<string> GetGenericMethodParameter(object? genericContext, int index) => [];

        public ImmutableArray<string> GetGenericTypeParameter(object? genericContext, int index) => [];

        public ImmutableArray<string> GetPrimitiveType(PrimitiveTypeCode typeCode) => [];

        private ImmutableArray<string> Of(FieldDefinition field) => [.. Of(field.GetDeclaringType()), .. field.DecodeSignature(this, null)];

        private ImmutableArray<string> Of(MethodDefinition method) => [.. Of(method.GetDeclaringType()), .. Of(method.DecodeSignature(this, null))];

        private ImmutableArray<string> Of(MemberReference member) =>
            [.. Of(member.Parent), .. member.GetKind() == MemberReferenceKind.Field ? member.DecodeFieldSignature(this, null) : Of(member.DecodeMethodSignature(this, null))];

        private ImmutableArray<string> Of(MethodSpecification method) => [.. Of(method.Method), .. method.DecodeSignature(this, null).SelectMany(type => type)];

        private static string Full(MetadataReader reader, StringHandle space, StringHandle name) =>
            space.IsNil ? reader.GetString(name) : $"{reader.GetString(space)}.{reader.GetString(name)}";
    }
}
