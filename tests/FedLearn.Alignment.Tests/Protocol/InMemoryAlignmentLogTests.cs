using FedLearn.Testing;

namespace FedLearn.Alignment.Tests.Protocol;

public class InMemoryAlignmentLogTests
{
    public static TheoryData<string> Checks => [.. AlignmentLogConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void InMemoryAlignmentLog_Conforms(string check)
    {
        InMemoryAlignmentLog? log = null;
        AlignmentLogConformance.All[check](clock => log ??= new InMemoryAlignmentLog(clock));
    }
}
