using System.IO.Compression;
using System.Reflection.Metadata;
using System.Text;
using System.Xml.Linq;

namespace FedLearn.Packages.Tests;

public sealed class PackageContentTests(Packed packed)
{
    public static TheoryData<string> Libraries => [.. Packed.Libraries];

    public static TheoryData<string> All => [.. Packed.Libraries, Packed.Tool];

    [Fact]
    public void Pack_Solution_GivesThePackagesAndNothingElse() => Assert.Equal(
        new[] { Packed.Tool }.Concat(Packed.Libraries).SelectMany(name => new[] { $"{name}.{packed.Version}.nupkg", $"{name}.{packed.Version}.snupkg" }).Order(StringComparer.Ordinal),
        Directory.GetFiles(packed.Packages).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Library_Contents_AreAssemblyDocumentsReadmeAndIcon(string package)
    {
        using ZipArchive nupkg = packed.Open(package), symbols = packed.Open(package, "snupkg");
        string[] contents = Contents(nupkg, package), more = package switch { "FedLearn.Towers.LibTorch" => NativeSources, "FedLearn.Baselines.HomomorphicEncryption" => Worker, _ => [] };
        Assert.Equal([.. new[] { "README.md", "icon.png", $"lib/net10.0/{package}.dll", $"lib/net10.0/{package}.xml" }.Concat(more).Order(StringComparer.Ordinal)], contents);
        Assert.Equal([$"lib/net10.0/{package}.pdb"], Contents(symbols, package));
    }

    // What the readme of the towers has built where there is no checkout.
    private static string[] NativeSources => [.. Directory.GetFiles(Path.Combine(Packed.Root, "src", "FedLearn.Towers.LibTorch", "native")).Select(file => "native/" + Path.GetFileName(file))];

    // What SEAL's worker is, but for node-seal, which npm brings.
    private static string[] Worker => [.. new[] { "worker.mjs", "package.json", "package-lock.json" }.Select(file => "contentFiles/any/any/seal-worker/" + file)];

    [Fact]
    public void Tool_Contents_HoldTheCommandItsSymbolsAndNoContentFiles()
    {
        using ZipArchive nupkg = packed.Open(Packed.Tool), symbols = packed.Open(Packed.Tool, "snupkg");
        string[] contents = Contents(nupkg, Packed.Tool);
        Assert.Empty(new[] { "README.md", "icon.png", "tools/net10.0/any/FedLearn.Cli.dll", "tools/net10.0/any/Schemas/job.schema.json", "tools/net10.0/any/seal-worker/worker.mjs", "tools/net10.0/any/docs/errors/FL2001.md" }.Except(contents));
        Assert.DoesNotContain(contents, entry => entry.StartsWith("content", StringComparison.Ordinal));
        Assert.Contains("tools/net10.0/any/FedLearn.Cli.pdb", Contents(symbols, Packed.Tool));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Package_Metadata_NamesLicenceReadmeIconTagsAndNoPlace(string package)
    {
        using ZipArchive nupkg = packed.Open(package);
        XElement metadata = XDocument.Parse(Text(nupkg, package + ".nuspec")).Root!.Elements().Single(e => e.Name.LocalName == "metadata");
        string? Value(string name) => metadata.Elements().SingleOrDefault(e => e.Name.LocalName == name)?.Value;
        Assert.Equal((package, "Apache-2.0", "README.md", "icon.png"), (Value("id"), Value("license"), Value("readme"), Value("icon")));
        Assert.Contains("federated-learning", Value("tags")!.Split(' '));
        Assert.NotEqual("Package Description", Value("description"));
        Assert.Null(Value("projectUrl"));
        Assert.Null(metadata.Elements().SingleOrDefault(e => e.Name.LocalName == "repository")?.Attribute("url"));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Package_Readme_StartsWithATitleAndSaysTheLicence(string package)
    {
        using ZipArchive nupkg = packed.Open(package);
        string text = Text(nupkg, "README.md");
        Assert.StartsWith("# ", text, StringComparison.Ordinal);
        Assert.Contains("Apache-2.0", text, StringComparison.Ordinal);
        Assert.DoesNotContain("](", text, StringComparison.Ordinal); // a relative link has no target in a package
    }

    [Fact]
    public void Package_Icon_IsA128PixelSquare()
    {
        using ZipArchive nupkg = packed.Open("FedLearn");
        byte[] png = Bytes(nupkg, "icon.png");
        Assert.Equal("\u0089PNG\r\n", Encoding.Latin1.GetString(png, 0, 6));
        Assert.Equal((128, 128), (Number(png, 16), Number(png, 20))); // width and height of the header chunk, big-endian
        static int Number(byte[] data, int at) => System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(data.AsSpan(at));
    }

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Library_Documents_DescribeTypes(string package)
    {
        using ZipArchive nupkg = packed.Open(package);
        XElement[] members = [.. XDocument.Parse(Text(nupkg, $"lib/net10.0/{package}.xml")).Descendants("member")];
        Assert.NotEmpty(members);
        Assert.Contains(members, member => member.Attribute("name")!.Value.StartsWith("T:FedLearn.", StringComparison.Ordinal) && !string.IsNullOrWhiteSpace(member.Element("summary")?.Value));
    }

    [Fact]
    public void Symbols_SourcePaths_DoNotNameTheCheckout()
    {
        using ZipArchive symbols = packed.Open("FedLearn", "snupkg");
        using MetadataReaderProvider provider = MetadataReaderProvider.FromPortablePdbImage([.. Bytes(symbols, "lib/net10.0/FedLearn.pdb")]);
        MetadataReader reader = provider.GetMetadataReader();
        string[] paths = [.. reader.Documents.Select(document => reader.GetString(reader.GetDocument(document).Name))];
        Assert.Contains(paths, path => path.EndsWith("/GlmTrainer.cs", StringComparison.Ordinal));
        // What a build that gives the same bytes anywhere puts in place of the checkout's folder.
        Assert.All(paths, path => Assert.StartsWith("/_", path, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Pack_Twice_GivesTheSameBytes()
    {
        string again = await packed.PackAgainAsync("FedLearn.Privacy");
        foreach (string extension in new[] { "nupkg", "snupkg" })
        {
            string name = $"FedLearn.Privacy.{packed.Version}.{extension}";
            Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(packed.Packages, name), TestContext.Current.CancellationToken),
                await File.ReadAllBytesAsync(Path.Combine(again, name), TestContext.Current.CancellationToken));
        }
    }

    // Entries without those that the package format itself adds.
    private static string[] Contents(ZipArchive package, string name) => [.. package.Entries.Select(entry => entry.FullName)
        .Where(entry => entry != name + ".nuspec" && entry != "[Content_Types].xml" && !entry.StartsWith("_rels/", StringComparison.Ordinal) && !entry.StartsWith("package/", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal)];

    private static string Text(ZipArchive package, string entry) => Encoding.UTF8.GetString(Bytes(package, entry)).TrimStart('\uFEFF');

    private static byte[] Bytes(ZipArchive package, string entry)
    {
        using Stream stream = package.GetEntry(entry)?.Open() ?? throw new InvalidOperationException($"{entry} is missing.");
        using var copy = new MemoryStream();
        stream.CopyTo(copy);
        return copy.ToArray();
    }
}
