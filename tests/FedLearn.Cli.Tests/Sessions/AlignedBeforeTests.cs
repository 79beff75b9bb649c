using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;

namespace FedLearn.Cli.Tests.Sessions;

public sealed class AlignedBeforeTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static AlignmentTask TaskOf(params string[] ids) => new() { Role = PartyRole.Active, Ids = ids, Seed = 1, JobDigest = new byte[32], Parties = 2 };

    // The runs of a comparison align once: with other ids in the file the rows would be others.
    [Fact]
    public async Task Align_IdsThatChangedSince_AreRefused()
    {
        string folder = Path.GetDirectoryName(_folder.Write("any.txt", ""))!;
        AlignedBefore.Write(folder, "bank", ["a", "b", "c"], new AlignedRows([0, 2], ["leak"], []));
        var before = new AlignedBefore(folder, "bank");
        AlignedRows again = await before.AlignAsync(TaskOf("a", "b", "c"), [], TestContext.Current.CancellationToken);
        Assert.Equal([0, 2], again.Rows.Order());
        Assert.Equal(["leak"], again.Leaks);
        foreach (string[] changed in new string[][] { ["a", "b"], ["a", "b", "d"], ["b", "a", "c"] })
            Assert.Equal(AlignErrors.TableChanged, (await Assert.ThrowsAsync<BadInputException>(() => before.AlignAsync(TaskOf(changed), [], TestContext.Current.CancellationToken))).Id);
    }
}
