using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace FedLearn.Rules.Tests;

public class PublicApiTests
{
    private static readonly SymbolDisplayFormat Format = new(
        SymbolDisplayGlobalNamespaceStyle.Omitted,
        SymbolDisplayTypeQualificationStyle.NameAndContainingTypesAndNamespaces,
        SymbolDisplayGenericsOptions.IncludeTypeParameters | SymbolDisplayGenericsOptions.IncludeTypeConstraints | SymbolDisplayGenericsOptions.IncludeVariance,
        SymbolDisplayMemberOptions.IncludeParameters | SymbolDisplayMemberOptions.IncludeContainingType | SymbolDisplayMemberOptions.IncludeConstantValue | SymbolDisplayMemberOptions.IncludeRef | SymbolDisplayMemberOptions.IncludeExplicitInterface,
        SymbolDisplayDelegateStyle.NameAndSignature,
        SymbolDisplayExtensionMethodStyle.StaticMethod,
        SymbolDisplayParameterOptions.IncludeType | SymbolDisplayParameterOptions.IncludeName | SymbolDisplayParameterOptions.IncludeDefaultValue
            | SymbolDisplayParameterOptions.IncludeParamsRefOut | SymbolDisplayParameterOptions.IncludeExtensionThis,
        SymbolDisplayPropertyStyle.ShowReadWriteDescriptor,
        SymbolDisplayLocalOptions.None,
        SymbolDisplayKindOptions.None,
        SymbolDisplayMiscellaneousOptions.UseSpecialTypes | SymbolDisplayMiscellaneousOptions.IncludeNullableReferenceTypeModifier);

    // A type where it is used: its constraints stand where it is declared.
    private static readonly SymbolDisplayFormat Plain = Format.WithGenericsOptions(SymbolDisplayGenericsOptions.IncludeTypeParameters);

    /// <summary>All but the tool, whose classes are for itself.</summary>
    public static TheoryData<string> Libraries => [.. Repository.Assemblies.Where(assembly => assembly != "FedLearn.Cli")];

    [Theory]
    [MemberData(nameof(Libraries))]
    public void PublicApi_Assembly_IsTheReviewedOne(string assembly) => Repository.Matches(string.Concat(Lines(assembly).Select(line => line + "\n")), "docs", "api", assembly + ".txt");

    private static IEnumerable<string> Lines(string assembly)
    {
        MetadataReference[] platform = [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => Path.GetFileNameWithoutExtension(path) != assembly).Select(path => MetadataReference.CreateFromFile(path))];
        MetadataReference subject = MetadataReference.CreateFromFile(Repository.PathOf(assembly));
        CSharpCompilation compilation = CSharpCompilation.Create("api", references: [.. platform, subject]);
        var symbol = (IAssemblySymbol)compilation.GetAssemblyOrModuleSymbol(subject)!;
        return Types(symbol.GlobalNamespace).SelectMany(Members).Distinct().Order(StringComparer.Ordinal);
    }

    private static IEnumerable<INamedTypeSymbol> Types(INamespaceOrTypeSymbol container) => container.GetMembers().SelectMany(member => member switch
    {
        INamespaceSymbol inner => Types(inner),
        INamedTypeSymbol type when IsVisible(type) => Types(type).Prepend(type),
        _ => [],
    });

    private static IEnumerable<string> Members(INamedTypeSymbol type)
    {
        yield return $"{type.ToDisplayString(Format)}: {Modifiers(type)}{(type.IsRecord ? "record" : type.TypeKind.ToString().ToLowerInvariant())}{Bases(type)}";
        if (type.TypeKind == TypeKind.Delegate)
            yield break;
        foreach (ISymbol member in type.GetMembers().Where(IsVisible))
        {
            bool isAccessor = member is IMethodSymbol { AssociatedSymbol: not null };
            bool isWritten = !member.GetAttributes().Any(attribute => attribute.AttributeClass?.Name == "CompilerGeneratedAttribute");
            bool isDefaultConstructor = member is IMethodSymbol { MethodKind: MethodKind.Constructor, Parameters.Length: 0 } && type.TypeKind is TypeKind.Enum or TypeKind.Struct;
            if (member is not INamedTypeSymbol && !isAccessor && isWritten && !isDefaultConstructor && member.Name != "value__")
                yield return $"{member.ToDisplayString(Format)}: {Modifiers(member)}{TypeOf(member)}";
        }
    }

    // The name comes first, so that the sorted list keeps a type and its members together.
    private static string Modifiers(ISymbol symbol) =>
        (symbol.IsStatic && symbol is not IFieldSymbol { ContainingType.TypeKind: TypeKind.Enum } ? "static " : "") + (symbol.IsAbstract && symbol.ContainingType?.TypeKind != TypeKind.Interface && symbol is not INamedTypeSymbol { TypeKind: TypeKind.Interface } ? "abstract " : "")
        + (symbol is INamedTypeSymbol { IsSealed: true, TypeKind: TypeKind.Class } ? "sealed " : "") + (symbol.IsVirtual ? "virtual " : "") + (symbol.IsOverride ? "override " : "")
        + (symbol.DeclaredAccessibility == Accessibility.Public ? "" : "protected ");

    private static string TypeOf(ISymbol member) => member switch
    {
        IMethodSymbol { MethodKind: MethodKind.Constructor } => "constructor",
        IMethodSymbol method => method.ReturnType.ToDisplayString(Plain),
        IPropertySymbol property => property.Type.ToDisplayString(Plain),
        IFieldSymbol { ContainingType.TypeKind: TypeKind.Enum } => "value",
        IFieldSymbol field => field.Type.ToDisplayString(Plain),
        IEventSymbol happening => $"event {happening.Type.ToDisplayString(Plain)}",
        _ => throw new InvalidOperationException($"A member of kind {member.Kind}."),
    };

    private static string Bases(INamedTypeSymbol type)
    {
        if (type.TypeKind is TypeKind.Enum or TypeKind.Delegate)
            return "";
        string[] bases = [.. new[] { type.BaseType }.Concat(type.Interfaces.OrderBy(i => i.Name, StringComparer.Ordinal)).OfType<INamedTypeSymbol>()
            .Where(b => b.SpecialType is not (SpecialType.System_Object or SpecialType.System_ValueType)).Select(b => b.ToDisplayString(Plain))];
        return bases.Length > 0 ? " of " + string.Join(", ", bases) : "";
    }

    private static bool IsVisible(ISymbol symbol) =>
        symbol.DeclaredAccessibility is Accessibility.Public or Accessibility.Protected or Accessibility.ProtectedOrInternal;
}
