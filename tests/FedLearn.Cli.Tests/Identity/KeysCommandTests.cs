using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Identity;

public sealed class KeysCommandTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string At(string name) => Path.Combine(_folder.Path, name);

    private Task<ToolRun> NewAsync(params string[] args) => ToolRun.Of(["keys", "new", "--out", _folder.Path, .. args]);

    [Theory]
    [InlineData(null, 90)]
    [InlineData("7", 7)]
    public async Task New_Party_WritesAPairAndPrintsWhatToPaste(string? days, int expected)
    {
        ToolRun run = await NewAsync(["--party", "bank-1", .. days is null ? Array.Empty<string>() : ["--days", days]]);
        Assert.True((run.ExitCode, run.Output) == (0, ""), run.Error);
        Assert.Equal(["bank-1.crt.pem", "bank-1.key.pem"], Directory.GetFiles(_folder.Path).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal));
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(At("bank-1.key.pem")));
        using X509Certificate2 certificate = GrpcSecurity.LoadCertificate(At("bank-1.crt.pem"), At("bank-1.key.pem"));
        Assert.True(certificate.HasPrivateKey);
        Assert.Equal("CN=bank-1", certificate.Subject);
        Assert.InRange(certificate.NotAfter.ToUniversalTime(), TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(expected).AddMinutes(-10), TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(expected));
        Assert.Contains($"\"bank-1\": \"{CertificatePin.OfKey(certificate)}\"", run.Error, StringComparison.Ordinal);
        // With the folder: pasted into a file of this one, it finds them.
        Assert.Contains($"\"tls\": {{ \"certificate\": \"{At("bank-1.crt.pem").Replace('\\', '/')}\", \"key\": \"{At("bank-1.key.pem").Replace('\\', '/')}\", \"peers\": {{ \"PEER\": \"sha256:...\" }} }}", run.Error, StringComparison.Ordinal);
        Assert.Contains(certificate.NotAfter.ToUniversalTime().ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), run.Error, StringComparison.Ordinal);
        Keys.AssertNoneIn(_folder.Path, run.Error, run.Output);
    }

    [Fact]
    public async Task New_Json_HasTheSnippetsAndNoKey()
    {
        ToolRun run = await NewAsync("--party", "telco", "--json");
        JsonObject document = JsonNode.Parse(run.Output)!.AsObject();
        string pin = (string)document["certificate"]!["pin"]!;
        Assert.True(CertificatePin.TryParse(pin, out _));
        Assert.Equal((pin, At("telco.crt.pem"), At("telco.key.pem")), ((string)document["peers"]!["telco"]!, (string)document["certificateFile"]!, (string)document["keyFile"]!));
        Keys.AssertNoneIn(_folder.Path, run.Error, run.Output);
        // What is to be pasted is read as it stands.
        _folder.Write("job.json", """{ "model": { "family": "binomial" }, "parties": [ { "name": "bank", "role": "active" }, { "name": "telco", "role": "passive" } ] }""");
        document["tls"]!["peers"] = new JsonObject { ["bank"] = pin };
        var party = new JsonObject { ["job"] = "job.json", ["party"] = "telco", ["data"] = new JsonObject { ["path"] = "t.csv" }, ["peers"] = new JsonArray("bank.example:5301"), ["tls"] = document["tls"]!.DeepClone() };
        Assert.Equal("https", PartyFile.Load(_folder.Write("telco.party.json", party.ToJsonString())).ActiveParty!.Scheme);
    }

    [Theory]
    [InlineData("bank.crt.pem")]
    [InlineData("bank.key.pem")]
    public async Task New_FileThatIsThere_IsNeverReplaced(string file)
    {
        _folder.Write(file, "precious");
        ToolRun run = await NewAsync("--party", "bank");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({IdentityErrors.KeyExists})", run.Error, StringComparison.Ordinal);
        Assert.Contains(file, run.Error, StringComparison.Ordinal);
        Assert.Equal("precious", File.ReadAllText(At(file)));
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Theory]
    [InlineData("../bank", "90", "--party")]
    [InlineData("", "90", "--party")]
    [InlineData("bank", "0", "--days")]
    [InlineData("bank", "3651", "--days")]
    [InlineData("bank", "soon", "--days")]
    public async Task New_BadArguments_AreUsage(string party, string days, string part)
    {
        ToolRun run = await NewAsync("--party", party, "--days", days);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(part, run.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task New_FolderThatIsAFile_CannotBeWritten()
    {
        string file = _folder.Write("file", "");
        ToolRun run = await ToolRun.Of("keys", "new", "--party", "bank", "--out", Path.Combine(file, "keys"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"({CliErrors.CannotWrite})", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Show_Certificate_TellsPinsNamesAndValidity()
    {
        string pin = Keys.Make(_folder.Path, "telco"), old = Keys.Make(_folder.Path, "telco", "old", TimeSpan.FromDays(100));
        File.AppendAllText(At("telco.crt.pem"), File.ReadAllText(At("old.crt.pem")));
        ToolRun run = await ToolRun.Of("keys", "show", At("telco.crt.pem"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonArray certificates = JsonNode.Parse(run.Output)!["certificates"]!.AsArray();
        Assert.Equal([pin, old], certificates.Select(c => (string)c!["pin"]!));
        Assert.Equal(["valid", "expired"], certificates.Select(c => (string)c!["state"]!));
        Assert.Equal(["telco", "fedlearn:telco"], certificates[0]!["names"]!.AsArray().Select(n => (string)n!));
        Assert.NotEqual(pin, (string)certificates[0]!["certificatePin"]!);
        Assert.All((string[])[pin, old, (string)certificates[0]!["certificatePin"]!, "CN=telco", "(expired)", "itself", (string)certificates[0]!["validUntil"]!], part => Assert.Contains(part, run.Error, StringComparison.Ordinal));
        // Without a document the table is what was asked for.
        ToolRun table = await ToolRun.Of("keys", "show", At("telco.crt.pem"));
        Assert.Equal((run.Error, ""), (table.Output, table.Error));
    }

    [Theory]
    [InlineData("telco.key.pem")]
    [InlineData("nothing.pem")]
    public async Task Show_FileWithoutCertificate_IsRefused(string file)
    {
        Keys.Make(_folder.Path, "telco");
        ToolRun run = await ToolRun.Of("keys", "show", At(file), "--json");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({GrpcErrors.CertificateUnusable})", run.Error, StringComparison.Ordinal);
        Keys.AssertNoneIn(_folder.Path, run.Error);
    }

    [Fact]
    public async Task Help_New_TeachesTheExchange()
    {
        ToolRun run = await ToolRun.Of("keys", "new", "--help");
        Assert.All((string[])["Step by step", "fedlearn keys new --party bank", "calls the other", "\"peers\": { \"bank\": \"sha256:...\" }", "fedlearn keys show"], part => Assert.Contains(part, run.Output, StringComparison.Ordinal));
    }
}
