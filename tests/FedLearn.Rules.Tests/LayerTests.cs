using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

public partial class LayerTests
{
    // Each layer may use itself and those to its left; layers of one place do not use each other.
    private static readonly string[][] Layers =
    [
        ["FedLearn.Privacy"], ["FedLearn.Numerics"], ["FedLearn.Data"], ["FedLearn.Protocol"], ["FedLearn.Coordination"], ["FedLearn.Parties"],
        ["FedLearn.Aggregation"], ["FedLearn.Evaluation"], ["FedLearn.Glm", "FedLearn.Dssm"],
        ["FedLearn.Transport.Grpc", "FedLearn.Storage.Sqlite", "FedLearn.Onnx", "FedLearn.Towers.LibTorch", "FedLearn.Alignment", "FedLearn.Baselines.HomomorphicEncryption"], ["FedLearn.Testing", "FedLearn.Cli"],
    ];

    private const string Diagnostics = "FedLearn.Diagnostics";

    // What is wrong with an assembly's uses, as lines; empty when nothing is.
    private static List<string> Violations(string path)
    {
        var lines = new List<string>();
        foreach ((string user, string used) in TypeUses.Of(path).Where(use => IsOurs(use.User) && IsOurs(use.Used)))
        {
            if (IsIn(used, Diagnostics))
                continue;
            if (IsIn(user, Diagnostics))
                lines.Add($"{user} uses {used}, but Diagnostics uses nothing.");
            else if (LayerOf(user) is not { } from)
                lines.Add($"{user} is in no layer.");
            else if (LayerOf(used) is not { } to)
                lines.Add($"{user} uses {used}, which is in no layer.");
            else if (from != to && Place(to) >= Place(from))
                lines.Add($"{user} uses {used}, which is not to its left.");
        }

        return lines;
    }

    private static bool IsOurs(string type) => type.StartsWith("FedLearn.", StringComparison.Ordinal);

    private static bool IsIn(string type, string layer) => type.StartsWith(layer + ".", StringComparison.Ordinal);

    private static string? LayerOf(string type) => Layers.SelectMany(layer => layer).FirstOrDefault(layer => IsIn(type, layer));

    private static int Place(string layer) => Array.FindIndex(Layers, place => place.Contains(layer));

    public static TheoryData<string> Assemblies => [.. Repository.Assemblies];

    [Theory]
    [MemberData(nameof(Assemblies))]
    public void Assembly_Uses_PointToTheLeft(string assembly) => Assert.Empty(Violations(Repository.PathOf(assembly)));

    // Every way to use a type, from FedLearn.Data to its right. The case's number replaces # in the name of its class.
    private static readonly string[] Wrong =
    [
        "class A# : FedLearn.Glm.B { }",
        "class A# { FedLearn.Glm.B? F; }",
        "class A# { void M(FedLearn.Glm.B b) { } }",
        "class A# { FedLearn.Glm.B M() => null!; }",
        "class A# { object M() => new FedLearn.Glm.B(); }",
        "class A# { object M() => typeof(FedLearn.Glm.B); }",
        "class A# { object M() => FedLearn.Glm.B.Value; }",
        "class A# { object M() => new System.Collections.Generic.List<FedLearn.Glm.B[]>(); }",
        "class A# { void M() => System.Array.Empty<FedLearn.Glm.B>().ToString(); }",
        "class A# { bool M(object o) => o is FedLearn.Glm.B; }",
        "class A# { int M(int i) { switch (i) { case 0: return 3; case 1: return 7; case 2: return 9; case 3: return 1; default: return FedLearn.Glm.B.Value.GetHashCode(); } } }",
        "class A# { void M() { try { } catch (FedLearn.Glm.Failure) { } } }",
        "class A#<T> where T : FedLearn.Glm.B { }",
        "[FedLearn.Glm.Mark] class A# { }",
        "class A# { class Inner { System.Func<object> M() => () => new FedLearn.Glm.B(); } }",
    ];

    private static readonly (string Code, bool IsWrong)[] Others =
    [
        ("namespace FedLearn.Glm { class A# { object M() => new FedLearn.Data.C(); } }", false),
        ("namespace FedLearn.Data { class A# { object M() => new FedLearn.Diagnostics.C(); } }", false),
        ("namespace FedLearn.Data.Inner { class A# { object M() => new FedLearn.Data.C(); } }", false),
        ("namespace FedLearn.Diagnostics { class A# { object M() => new FedLearn.Data.C(); } }", true),
        ("namespace FedLearn.Testing { class A# { object M() => new FedLearn.Cli.C(); } }", true),
        ("namespace FedLearn.Elsewhere { class A# { object M() => new FedLearn.Data.C(); } }", true),
        ("namespace FedLearn.Data { class A# { object M() => new FedLearn.DataSets.C(); } }", true),
    ];

    [Fact]
    public void Violations_CompiledCases_AreFoundAndNothingElse()
    {
        string code = """
            namespace FedLearn.Glm { class B { public static readonly object Value = 1; } class Failure : System.Exception { } class Mark : System.Attribute { } }
            namespace FedLearn.Data { class C { } } namespace FedLearn.Diagnostics { class C { } } namespace FedLearn.Cli { class C { } } namespace FedLearn.DataSets { class C { } }

            """;
        var expected = new List<string>();
        int number = 0;
        foreach ((string text, bool isWrong) in Wrong.Select(text => ($"namespace FedLearn.Data {{ {text} }}", true)).Concat(Others))
        {
            string name = $"A{number++:00}";
            code += text.Replace("A#", name, StringComparison.Ordinal) + "\n";
            if (isWrong)
                expected.Add(name);
        }

        Assert.Equal(expected, ViolationsOf(code).Select(line => ClassName().Match(line).Value).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Testing_References_NoTestFramework() =>
        Assert.DoesNotContain(System.Reflection.Assembly.LoadFrom(Repository.PathOf("FedLearn.Testing")).GetReferencedAssemblies(),
            name => name.Name!.Contains("xunit", StringComparison.OrdinalIgnoreCase) || name.Name.Contains("nunit", StringComparison.OrdinalIgnoreCase)
                || name.Name.Contains("TestPlatform", StringComparison.OrdinalIgnoreCase) || name.Name.StartsWith("FsCheck", StringComparison.Ordinal));

    private static List<string> ViolationsOf(string code)
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            Assert.Empty(Compiler.Errors(code, keep: folder));
            return Violations(Path.Combine(folder, "out.dll"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [GeneratedRegex(@"\bA\d\d")]
    private static partial Regex ClassName();
}
