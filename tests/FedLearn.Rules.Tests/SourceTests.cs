using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

public partial class SourceTests
{
    // Documents for users, whose C# must compile: what the packages carry, and the page of the guide on applications.
    public static TheoryData<string> Documents =>
        ["README.md", "docs/guide/library.md", .. Repository.Assemblies.Where(name => name != "FedLearn.Cli").Select(name => $"src/{name}/README.md")];

    [Theory]
    [MemberData(nameof(Documents))]
    public void Document_CSharpBlocks_Compile(string document)
    {
        string[] blocks = [.. CSharpBlock().Matches(File.ReadAllText(Path.Combine(Repository.Root, document))).Select(match => match.Groups[1].Value)];
        Assert.NotEmpty(blocks);
        Assert.All(blocks, block => Assert.Empty(Compiler.Errors(block, "exe")));
    }

    [Fact]
    public void Tests_NoSleepAndNoSkippedTest()
    {
        var found = from file in Repository.Sources("tests")
                    where Path.GetFileName(file) != "SourceTests.cs"
                    from line in File.ReadLines(file)
                    where SleepOrSkip().IsMatch(line)
                    select $"{Path.GetFileName(file)}: {line.Trim()}";
        Assert.Empty(found);
    }

    // System first, each part in the order of the alphabet, those of static members and aliases behind: what dotnet format would make of them, in a second instead of minutes.
    [Fact]
    public void Sources_Usings_AreInOrder()
    {
        string[] files = [.. Repository.Files().Where(file => file.EndsWith(".cs", StringComparison.Ordinal))];
        Assert.True(files.Length > 500, $"{files.Length} files");
        Assert.DoesNotContain(files, file => UsingsOf(File.ReadLines(Path.Combine(Repository.Root, file))) is var usings && !usings.SequenceEqual(Sorted(usings)));
    }

    [Theory]
    [InlineData("using System;\nusing System.Text;\nusing FedLearn;\nusing Xunit;\nusing static System.Math;", true)]
    [InlineData("using FedLearn;\nusing System;", false)]
    [InlineData("using System.Text;\nusing System.Numerics;", false)]
    [InlineData("using Xunit;\nusing FedLearn;", false)]
    public void Usings_InOrderOrNot_AreFound(string source, bool sorted) =>
        Assert.Equal(sorted, UsingsOf(source.Split('\n')).SequenceEqual(Sorted(UsingsOf(source.Split('\n')))));

    private static string[] UsingsOf(IEnumerable<string> lines) =>
        [.. lines.Select(line => line.TrimStart('\uFEFF')).TakeWhile(line => line.Length == 0 || line[0] is '/' or '#' || line.StartsWith("using ", StringComparison.Ordinal)).Where(line => UsingLine().IsMatch(line))];

    private static IEnumerable<string> Sorted(IEnumerable<string> usings) => usings
        .OrderBy(line => line.Contains('=', StringComparison.Ordinal) ? 2 : line.StartsWith("using static ", StringComparison.Ordinal) ? 1 : 0)
        .ThenBy(line => UsingLine().Match(line).Groups[1].Value is "System" or ['S', 'y', 's', 't', 'e', 'm', '.', ..] ? 0 : 1)
        .ThenBy(line => UsingLine().Match(line).Groups[1].Value, StringComparer.OrdinalIgnoreCase);

    // Whoever has a private key is that party. Keys of tests and samples are made when they run.
    [Fact]
    public void Files_Tracked_HoldNoPrivateKey()
    {
        byte[] pattern = PrivateKeyMark();
        string[] files = [.. Repository.Files()];
        Assert.True(files.Length > 100, $"{files.Length} files");
        Assert.DoesNotContain(files, file => File.ReadAllBytes(Path.Combine(Repository.Root, file)).AsSpan().IndexOf(pattern) >= 0);
    }

    [Fact]
    public void PrivateKeyMark_KeysInPem_AreFound()
    {
        using var key = System.Security.Cryptography.ECDsa.Create();
        foreach (string pem in (string[])[key.ExportPkcs8PrivateKeyPem(), key.ExportECPrivateKeyPem(),
            key.ExportEncryptedPkcs8PrivateKeyPem("password", new(System.Security.Cryptography.PbeEncryptionAlgorithm.Aes256Cbc, System.Security.Cryptography.HashAlgorithmName.SHA256, 1000))])
            Assert.True(System.Text.Encoding.ASCII.GetBytes(pem).AsSpan().IndexOf(PrivateKeyMark()) >= 0);
        Assert.True(System.Text.Encoding.ASCII.GetBytes(key.ExportSubjectPublicKeyInfoPem()).AsSpan().IndexOf(PrivateKeyMark()) < 0);
    }

    // In two parts, so that this file has none itself.
    private static byte[] PrivateKeyMark() => System.Text.Encoding.ASCII.GetBytes("PRIVATE KEY" + "-----");

    [Theory]
    [InlineData("[Fact(Skip = \"later\")]", true)]
    [InlineData("[Theory(DisplayName = \"x\", Skip = \"later\")]", true)]
    [InlineData("Thread.Sleep(10);", true)]
    [InlineData("await Task.Delay(10);", true)]
    [InlineData("Assert.Skip(\"data is absent\");", false)]
    [InlineData("rows.Skip(1)", false)]
    public void SleepOrSkip_Line_IsFoundOrNot(string line, bool expected) => Assert.Equal(expected, SleepOrSkip().IsMatch(line));

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    [GeneratedRegex(@"^using (?:static )?([\w.]+)(?: = [^;]+)?;")]
    private static partial Regex UsingLine();

    [GeneratedRegex(@"Thread\.Sleep|Task\.Delay|\[(Fact|Theory)\(.*\bSkip\s*=")]
    private static partial Regex SleepOrSkip();
}
