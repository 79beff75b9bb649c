using System.Diagnostics;
using System.Text.Json;
using FedLearn.Alignment.Tests.Hostile;
using FedLearn.Alignment.Tests.Outcome;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Alignment.Tests.Interop;

/// <summary>The protocol against a party in Python that shares no line with ours: tests/interop/psi_party.py. Skipped where Debian's python3-grpcio is absent.</summary>
public sealed class PythonPartyTests : IDisposable
{
    private const long Seed = -42;
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-psi-interop-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("both", false)]
    [InlineData("both", true)]
    [InlineData("active-only", true)]
    [InlineData("passive-only", false)]
    [InlineData("size-only", false)]
    public async Task Align_WithPython_BothFindTheSame(string output, bool proof)
    {
        ReferenceSodium.Require();
        PythonInterop.Require();
        // Ids beyond ASCII, of two columns, each party's in forms of its own.
        string[][] ids = Sets.Draw(seed: 20, parties: 2, most: 40, columns: 2, universe: 40);
        int[] common = Sets.Common(ids[0], ids[1]), commonThere = Sets.Common(ids[1], ids[0]);
        Assert.InRange(common.Length, 3, 39);
        var options = new PsiOptions
        {
            Output = output switch { "both" => PsiOutput.Both, "active-only" => PsiOutput.ActiveOnly, "passive-only" => PsiOutput.PassiveOnly, _ => PsiOutput.SizeOnly },
            Proof = proof,
            PadTo = 8,
            Log = new InMemoryAlignmentLog(TimeProvider.System),
        };
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcParties.Terms("clinic"));
        Task<(IReadOnlyList<int>? Rows, int? Size, int[]? Ordered)> ours = OursAsync(host, ids[0], options);
        using JsonDocument printed = JsonDocument.Parse(await RunAsync(host.Address, ids[1], proof ? [output, "--proof"] : [output]));
        (IReadOnlyList<int>? rows, int? size, int[]? ordered) = await ours.WaitAsync(Duel.Patience);
        JsonElement found = printed.RootElement.GetProperty("found");
        switch (output)
        {
            case "both":
                Assert.Equal(common, rows!);
                int[] theirs = [.. found.EnumerateArray().Select(row => row.GetInt32())];
                Assert.Equal(commonThere, theirs.Order());
                // In one order with ours.
                Assert.Equal(ordered!.Select(row => Sets.Key(ids[0][row])), theirs.Select(row => Sets.Key(ids[1][row])));
                break;
            case "active-only":
                Assert.Equal(common, rows!);
                Assert.Equal(JsonValueKind.Null, found.ValueKind);
                break;
            case "passive-only":
                Assert.Null(rows);
                Assert.Equal(commonThere, found.EnumerateArray().Select(row => row.GetInt32()).Order());
                break;
            default:
                Assert.Null(rows);
                Assert.Equal((common.Length, common.Length), (size!.Value, found.GetInt32()));
                break;
        }
    }

    /// <summary>Our side; with the output both the alignment of a job, whose rows are in the common order.</summary>
    private static async Task<(IReadOnlyList<int>? Rows, int? Size, int[]? Ordered)> OursAsync(GrpcFederationHost host, string[] ids, PsiOptions options)
    {
        await using GrpcSession session = await host.JoinAsync(GrpcParties.Request("bank", PartyRole.Active));
        if (options.Output != PsiOutput.Both)
        {
            PsiResult result = await PsiParty.RunAsync(PartyRole.Active, ids, session.Agreement.JobDigest, session.Channels[0], options);
            await session.Channels[0].CompleteAsync();
            return (result.Rows, result.Size, null);
        }

        var task = new AlignmentTask { Role = PartyRole.Active, Ids = ids, Seed = Seed, JobDigest = session.Agreement.JobDigest, Parties = 2 };
        AlignedRows aligned = await new PsiAlignment(options).AlignAsync(task, session.Channels);
        await session.Channels[0].CompleteAsync();
        return ([.. aligned.Rows.Order()], aligned.Rows.Length, aligned.Rows);
    }

    private async Task<string> RunAsync(Uri address, string[] ids, string[] output)
    {
        string file = Path.Combine(_folder, "ids.json");
        await File.WriteAllTextAsync(file, JsonSerializer.Serialize(ids.Select(id => id.Split(ReferencePsi.Separator))));
        string[] arguments =
        [
            "--address", address.Authority, "--job", "alignment", "--party", "clinic", "--ids", file, "--seed", $"{Seed}",
            "--terms", Convert.ToHexStringLower(GrpcParties.Terms("clinic").TermsDigest.Span), "--output", .. output,
        ];
        using Process process = PythonInterop.Start("psi_party.py", arguments);
        Task<string> printed = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.WaitForExitAsync().WaitAsync(Duel.Patience);
            Assert.True(process.ExitCode == 0, await error);
            return await printed;
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
